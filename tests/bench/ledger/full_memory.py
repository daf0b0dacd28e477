"""Memory as it is on a machine that has run for days: no page is free, what nobody uses is page cache.

A virtual machine's host often takes free pages back, and gives one only once it is touched. That took 9 us for 4 KiB
where it was measured, and half a microsecond once the page was there. Logs only grow, so the database pays for each
page of theirs, and the faster a piece writes, the more: a fifth of its speed, from one minute to the next. So what is
free is taken before each piece, by reading a file of nothing but holes.
"""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from rich.console import Console
from rich.progress import Progress

FREE_BYTES_LEFT = 1024**3
"""How much may stay free: the kernel keeps some itself, and a piece needs several times as much."""

CHUNK_BYTES = 16 * 1024**2

FILE_BYTES = 2**42
"""Larger than what is read in any run: each part is read once, so that it isn't in memory yet."""


class FullMemory:
    """Fills memory with page cache, which the kernel gives to whoever needs memory."""

    def __init__(self, folder: Path) -> None:
        """Have a file of holes in `folder`, on a disk: what is read of a file in memory would stay there."""
        self._folder = folder
        self._read_bytes = 0

    def __enter__(self) -> Self:
        """Make the file."""
        self._file = tempfile.TemporaryFile(dir=self._folder)
        self._file.truncate(FILE_BYTES)
        self._buffer = bytearray(CHUNK_BYTES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Forget the file, and with it what was read."""
        self._file.close()

    def fill_at_first(self, console: Console) -> None:
        """Fill it while people see how far it is: a minute on a machine that was started just now."""
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("filling memory", total=_free_bytes())
            while self._read_one():
                progress.advance(task, CHUNK_BYTES)

    def fill(self) -> None:
        """Fill what has become free since: files that were removed."""
        while self._read_one():
            pass

    def _read_one(self) -> bool:
        """Read a chunk; tell whether there was need."""
        if _free_bytes() <= 0 or self._read_bytes >= FILE_BYTES:
            return False
        self._read_bytes += os.preadv(self._file.fileno(), [self._buffer], self._read_bytes)
        return True


def _free_bytes() -> int:
    return max(0, int(psutil.virtual_memory().free) - FREE_BYTES_LEFT)

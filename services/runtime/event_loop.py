"""The event loop of every process: uvloop, whose sockets and callbacks cost a fraction of asyncio's own.

gRPC's Python answers a call by dozens of callbacks, so the loop is much of what a single call costs.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own, as `asyncio.run` does, and leave this process uninterrupted."""
    _wake_without_interrupting()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _wake_without_interrupting() -> None:
    """Let a thread that wakes wait for its turn, instead of interrupting the one that runs.

    gRPC's and Kafka's threads wake at each of a call's events, tell the event loop, and sleep: at a few thousand calls
    a second the loop was interrupted 28,000 times a second, which cost a third of its time. On an idle processor a
    thread that wakes still runs at once. It is what `SCHED_BATCH` is for (sched(7)), and needs no privilege.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it, and all works as well, if slower
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))

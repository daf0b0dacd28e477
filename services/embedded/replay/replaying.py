"""A whole run: read and plan, then make it so."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from services.embedded.replay.apply import Access, apply_plan
from services.embedded.replay.memory import Memory, load_secret
from services.embedded.replay.outcome import make_outcome
from services.embedded.replay.plan import FileForm, Plan, make_plan
from services.embedded.replay.progress import Meter
from services.embedded.replay.report import Report

MEMORY_FOLDER = "replay"
"""In the data folder."""

OpenPlatform = Callable[[bytes], AbstractAsyncContextManager[Access]]
"""Given the secret, opens the platform for the length of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A file, how it was read, and what it asks for."""

    file: Path
    content: bytes
    form: FileForm
    plan: Plan


def read_plan(file: Path, form: FileForm, *, run_id: str | None = None) -> Reading:
    """Read a file and plan; nothing has happened yet.

    Raises:
        OSError: It can't be opened.
        InvalidArgumentError: It can't be read in that form.
    """
    content = file.read_bytes()
    return Reading(file=file, content=content, form=form, plan=make_plan(content, form, run_id=run_id))


async def carry_out(
    reading: Reading, data: Path, *, open_platform: OpenPlatform, concurrency: int, meter: Meter
) -> Report:
    """Make a plan so; doing it again, however often, gives the same totals and moves no more money.

    Raises:
        TradeFlowError: The platform failed; what has happened stays, and the same call goes on from there.
    """
    started = time.monotonic()
    folder = data / MEMORY_FOLDER
    secret = load_secret(folder / "secret")
    with Memory(folder / f"{reading.plan.run_id}.jsonl") as memory:
        async with open_platform(secret) as access:
            applied = await apply_plan(
                reading.plan,
                access=access,
                secret=secret,
                memory=memory,
                concurrency=concurrency,
                meter=meter,
            )
    return Report(
        file=reading.file,
        content=reading.content,
        form=reading.form,
        plan=reading.plan,
        outcome=make_outcome(reading.plan, applied),
        applied=applied,
        elapsed_seconds=time.monotonic() - started,
    )

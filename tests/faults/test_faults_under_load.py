"""Faults under load, on real servers: what a seed says is done to the platform while people use it.

Afterwards everything is as if nothing had happened: each call was answered, or is by repeating it with its key; stock,
money, orders and the ledger agree; every event was heard once, in order; nothing waits and nothing was put aside.

One seed alone: `.venv/bin/pytest -n 0 "tests/faults/test_faults_under_load.py" -m "not soak" -k "seed-7"`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.aftermath import backlog_of, complaints_in, dead_letters_of, newest_event_of
from tests.support.fault_plan import DATABASE_LINKS, THEMED_SEEDS, FaultKind, FaultPlan, plan_of
from tests.support.faulty_platform import FaultyPlatform, faulty_platform
from tests.support.persistent_buyers import PersistentBuyers, impatient_http, persistent_buyers
from tests.support.public_shop import public_shop, until
from tests.support.real_parts import REAL_PARTS, RealParts
from tests.support.wallet_listener import WalletListener

pytestmark = REAL_PARTS

OUTAGE_SECONDS_MAX: Final = 10.0
"""In continuous integration."""

SOAK_OUTAGE_SECONDS_MAX: Final = 60.0
"""Where there is time."""

SOAK_SEEDS: Final = range(THEMED_SEEDS.stop, THEMED_SEEDS.stop + 100)

BUYERS: Final = 3
"""Few: what counts is what happens to a call, not how many there are."""

ANSWERS_BEFORE: Final = 6
"""Calls that are answered before the first fault."""

DRAINED_SECONDS_MAX: Final = 150.0
"""The stated time, after the last fault is healed, within which nothing waits any more; usually a few seconds."""

FORESEEN: Final = {"librdkafka": "", "services.runtime.lifecycle": "service_failed"}
"""Loggers, and how the events begin that they log as errors and that are none of ours: librdkafka's lost connections,
and a start that failed because what the service stands on was away."""


@pytest.mark.timeout(800)
@pytest.mark.parametrize("seed", THEMED_SEEDS, ids=lambda seed: f"seed-{seed}")
async def test_nothing_is_lost_or_done_twice_by_the_faults_of(
    breakable_parts: RealParts, tmp_path: Path, seed: int
) -> None:
    await _assert_survives(plan_of(seed, outage_seconds_max=OUTAGE_SECONDS_MAX), breakable_parts, tmp_path / "data")


@pytest.mark.soak
@pytest.mark.parametrize("seed", SOAK_SEEDS, ids=lambda seed: f"seed-{seed}")
async def test_nothing_is_lost_or_done_twice_by_the_long_faults_of(
    breakable_parts: RealParts, tmp_path: Path, seed: int
) -> None:
    await _assert_survives(
        plan_of(seed, outage_seconds_max=SOAK_OUTAGE_SECONDS_MAX), breakable_parts, tmp_path / "data"
    )


async def _assert_survives(plan: FaultPlan, parts: RealParts, data: Path) -> None:
    _say(plan)
    with faulty_platform(parts, data) as platform:
        _say("started")
        real = platform.real
        async with public_shop(real.gateway_url, real.data) as shop, impatient_http() as http:
            load = await persistent_buyers(shop, http, buyers=BUYERS, seed=plan.seed)
            async with _listening(load) as listeners:
                async with asyncio.TaskGroup() as group:
                    group.create_task(load.run())
                    await load.until_told(ANSWERS_BEFORE)
                    _say(f"{len(load.told)} answers before the first fault")
                    await platform.carry_out(plan)
                    _say("all faults are healed")
                    await load.until_told(len(load.told) + ANSWERS_BEFORE)
                    load.close()
                _say(f"{len(load.told)} answers; repeated: {dict(load.attempts_failed)}")
                await _assert_whole(platform, load, listeners)
        _say("whole again")
        assert _hits_missed(platform, plan) == []
        await real.assert_invariants_hold()


def _say(what: object) -> None:
    """Tell what belongs to a seed: pytest shows it when the seed fails, or always with `-s`."""
    sys.stdout.write(f"{time.strftime('%X')} {what}\n")


@asynccontextmanager
async def _listening(load: PersistentBuyers) -> AsyncIterator[Sequence[WalletListener]]:
    """Let everybody watch their wallets."""
    listeners = [WalletListener(person) for person in (load.seller, *load.buyers)]
    tasks = [asyncio.create_task(listener.run()) for listener in listeners]
    try:
        yield listeners
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _assert_whole(platform: FaultyPlatform, load: PersistentBuyers, listeners: Sequence[WalletListener]) -> None:
    """Check that the platform, which is whole again, forgot nothing of what happened meanwhile."""
    urls = platform.real.urls
    assert await load.ask_all_again() == []
    _say("asked all again")
    await until(
        lambda: asyncio.to_thread(backlog_of, urls),
        lambda backlog: backlog.is_empty,
        "the end of what waits",
        seconds_max=DRAINED_SECONDS_MAX,
    )
    _say("nothing waits")
    await load.assert_done_as_told(seconds_max=DRAINED_SECONDS_MAX)
    _say("all is done as told")
    for listener in listeners:
        newest = await asyncio.to_thread(newest_event_of, urls, listener.person.user_id)
        await listener.until_heard(newest, seconds_max=DRAINED_SECONDS_MAX)
    assert [wrong for listener in listeners for wrong in listener.wrong] == []
    assert sum(listener.reloads for listener in listeners) == 0, "all events were kept: nobody has to reload"
    assert await asyncio.to_thread(dead_letters_of, urls) == 0
    assert platform.deaths() == []
    assert platform.surprises == []
    assert complaints_in(sorted(platform.real.data.glob("*.stderr")), FORESEEN) == []


def _hits_missed(platform: FaultyPlatform, plan: FaultPlan) -> list[str]:
    """Name the connections that should have lost commits and had none to lose: such a fault proves nothing.

    Where faults overlap, another one may be the reason.
    """
    if plan.seed not in THEMED_SEEDS:
        return []
    losing = {FaultKind.LOSE_COMMIT, FaultKind.LOSE_COMMIT_ANSWER}
    targets = {fault.target for fault in plan.faults if fault.kind in losing}
    return [name for name in DATABASE_LINKS if name in targets and platform.links[name].commits_lost == 0]

"""Linger: a lone caller isn't kept, a crowd is waited for, and neither for ever."""

from collections.abc import Sequence
from uuid import uuid4

from services.ledger.commands.open_account import OpenAccount
from services.ledger.committer.linger import CROWD_LEFT, PAUSE_SECONDS, PAUSES_MAX, QUIET_TURNS, Linger, LingerSettings
from services.ledger.committer.waiting_room import WaitingRoom

CALL = OpenAccount(service="orders", idempotency_key="k", wallet_id=uuid4(), currency="EUR")


class Arrivals:
    """A waiting room with one caller in it, and a sleep during which others come."""

    def __init__(self, during_sleeps: Sequence[int] = (), *, batches: Sequence[int] = ()) -> None:
        self.room = WaitingRoom(commands_max=1000)
        self.slept_seconds: list[float] = []
        self._during_sleeps = iter(during_sleeps)
        self.linger = Linger(self.room, LingerSettings(), self._sleep)
        for commands in batches:
            self.linger.note_batch(commands)
        self._come(1)

    def _come(self, commands: int) -> None:
        self.room.enter([CALL] * commands, None)

    async def _sleep(self, seconds: float) -> None:
        self.slept_seconds.append(seconds)
        if commands := next(self._during_sleeps, 0):
            self._come(commands)

    async def waiting_after(self, commands_max: int = 100) -> int:
        """Linger, and tell how many commands go into the batch."""
        await self.linger.for_company(commands_max=commands_max)
        return len(self.room)


async def test_a_lone_caller_waits_some_turns_of_the_loop() -> None:
    arrivals = Arrivals(batches=[1])
    assert await arrivals.waiting_after() == 1
    assert arrivals.slept_seconds == [0] * QUIET_TURNS


async def test_a_neighbour_that_is_some_turns_away_comes_along() -> None:
    arrivals = Arrivals([0, 0, 0, 1])
    assert await arrivals.waiting_after() == 2
    assert arrivals.slept_seconds == [0] * (4 + QUIET_TURNS)


async def test_a_crowd_is_waited_for_until_it_is_there() -> None:
    arrivals = Arrivals([5, 6, 7], batches=[12])
    assert await arrivals.waiting_after() == 12
    assert arrivals.slept_seconds == [PAUSE_SECONDS] * 2


async def test_a_pause_that_brings_nobody_is_the_last() -> None:
    arrivals = Arrivals([3, 0, 4], batches=[64])
    assert await arrivals.waiting_after() == 4
    assert arrivals.slept_seconds == [PAUSE_SECONDS] * 2


async def test_a_crowd_that_comes_slowly_is_not_waited_for_to_the_last() -> None:
    arrivals = Arrivals([1] * 60, batches=[64])
    assert await arrivals.waiting_after() == 1 + PAUSES_MAX
    assert arrivals.slept_seconds == [PAUSE_SECONDS] * PAUSES_MAX


async def test_a_full_batch_is_not_kept() -> None:
    arrivals = Arrivals([1] * 10, batches=[64])
    assert await arrivals.waiting_after(commands_max=1) == 1
    assert arrivals.slept_seconds == []


async def test_a_crowd_that_is_there_is_not_kept() -> None:
    arrivals = Arrivals([9, 9], batches=[10])
    assert await arrivals.waiting_after() == 10
    assert arrivals.slept_seconds == [PAUSE_SECONDS]
    assert await arrivals.waiting_after() == 10
    assert arrivals.slept_seconds == [PAUSE_SECONDS]


async def test_a_crowd_that_has_gone_is_forgotten() -> None:
    batches_until_forgotten = next(number for number in range(100) if 64 * CROWD_LEFT**number < 2)
    arrivals = Arrivals(batches=[64, *[1] * batches_until_forgotten])
    await arrivals.waiting_after()
    assert arrivals.slept_seconds == [0] * QUIET_TURNS

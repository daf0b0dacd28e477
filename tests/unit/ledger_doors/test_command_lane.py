"""One stream's commands under way: bounded, in order, and run to their end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from services.ledger.domain.receipt import Receipt
from services.ledger.inbound.command_lane import COMMANDS_UNDER_WAY_MAX, SUBMISSIONS_MAX, CommandLane
from services.ledger.inbound.outcome_messages import Answered
from services.runtime.errors import UnavailableError
from tests.support.ledger import a_deposit
from tests.support.ledger_commands import NOW
from tests.support.waiting import eventually
from tradeflow.ledger.v1.commands_pb2 import Command


@dataclass(kw_only=True)
class HeldBack:
    """Takes commands and answers when a test lets it."""

    submissions: list[int] = field(default_factory=list)
    done: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    async def __call__(self, commands: Sequence[Command]) -> Sequence[Answered]:
        self.submissions.append(len(commands))
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        self.done += len(commands)
        return [Receipt(journal_sequence=1, recorded_at=NOW) for _ in commands]


def _has_submitted(committer: HeldBack, count: int) -> bool:
    return len(committer.submissions) == count


def numbered(first: int, count: int) -> list[tuple[int, Command]]:
    command = Command(deposit=a_deposit(uuid4(), 1))
    return [(number, command) for number in range(first, first + count)]


async def test_what_is_read_in_one_turn_and_while_others_are_under_way_goes_together() -> None:
    committer = HeldBack()
    lane = CommandLane(committer)
    lane.enter(numbered(0, 1))
    lane.enter(numbered(1, 1))
    await eventually(lambda: committer.submissions == [2])
    for number in range(2, 2 + SUBMISSIONS_MAX - 1):
        lane.enter(numbered(number, 1))
        await eventually(partial(_has_submitted, committer, number))
    for number in range(100, 110):
        lane.enter(numbered(number, 1))
        await asyncio.sleep(0)

    committer.may_answer.set()
    lane.close()
    numbers = [number async for done in lane.outcomes() for number, _ in done]

    assert committer.submissions == [2, *[1] * (SUBMISSIONS_MAX - 1), 10]
    assert numbers == [0, 1, *range(2, 1 + SUBMISSIONS_MAX), *range(100, 110)]


async def test_a_reader_waits_until_outcomes_are_written_not_only_done() -> None:
    committer = HeldBack()
    committer.may_answer.set()
    lane = CommandLane(committer)
    lane.enter(numbered(0, COMMANDS_UNDER_WAY_MAX))
    await eventually(lambda: committer.done == COMMANDS_UNDER_WAY_MAX)

    reader = asyncio.create_task(lane.room_for(1))
    await asyncio.sleep(0.02)
    waited = not reader.done()
    outcomes = lane.outcomes()
    await anext(outcomes)
    await asyncio.sleep(0.02)
    waited_for_the_writing = not reader.done()
    lane.close()
    rest = [done async for done in outcomes]

    assert waited
    assert waited_for_the_writing
    assert rest == []
    await asyncio.wait_for(reader, 10)


async def test_a_message_as_large_as_the_bound_passes_when_nothing_is_under_way() -> None:
    lane = CommandLane(HeldBack())

    await asyncio.wait_for(lane.room_for(COMMANDS_UNDER_WAY_MAX + 1), 1)


async def test_commands_whose_stream_was_left_are_run_even_those_that_still_waited() -> None:
    committer = HeldBack()
    lane = CommandLane(committer)

    async def write() -> None:
        async for _ in lane.outcomes():
            pass

    writer = asyncio.create_task(write())
    for turn in range(SUBMISSIONS_MAX + 3):
        lane.enter(numbered(turn, 1))
        await asyncio.sleep(0)
    await eventually(lambda: len(committer.submissions) == SUBMISSIONS_MAX)

    writer.cancel()
    await asyncio.wait({writer})
    committer.may_answer.set()

    await eventually(lambda: committer.done == SUBMISSIONS_MAX + 3)


async def test_what_the_committer_raises_is_every_commands_outcome() -> None:
    committer = HeldBack(failure=UnavailableError("Full.", reason="ledger_busy"))
    committer.may_answer.set()
    lane = CommandLane(committer)
    lane.enter(numbered(0, 2))
    lane.close()

    outcomes = [outcome async for done in lane.outcomes() for outcome in done]

    assert [(number, getattr(outcome, "reason", None)) for number, outcome in outcomes] == [
        (0, "ledger_busy"),
        (1, "ledger_busy"),
    ]

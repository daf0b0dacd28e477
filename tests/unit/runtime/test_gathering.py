"""Many concurrent calls as few."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from services.runtime.errors import RefusedError, TradeFlowError, UnavailableError
from services.runtime.gathering import Gathering
from tests.support.waiting import eventually


@dataclass(kw_only=True)
class Doubling:
    """Answers numbers with their doubles, and odd ones with a refusal; a test may hold the answers back, or fail."""

    calls: list[list[int]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cancelled: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None

    async def __call__(self, items: Sequence[int], timeout_seconds: float) -> Sequence[int | TradeFlowError]:
        self.calls.append(list(items))
        self.seconds.append(timeout_seconds)
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return [RefusedError("Odd.", reason="odd", details={"n": str(n)}) if n % 2 else 2 * n for n in items]


@pytest.fixture
def doubling() -> Doubling:
    doubling = Doubling()
    doubling.may_answer.set()
    return doubling


async def test_what_is_asked_in_one_turn_goes_together_in_order_and_each_gets_its_own_answer(
    doubling: Doubling,
) -> None:
    gathering = Gathering(doubling)

    answers = await asyncio.gather(*(gathering.ask(n, timeout_seconds=5) for n in (4, 3, 2)), return_exceptions=True)

    assert doubling.calls == [[4, 3, 2]]
    assert (answers[0], answers[2]) == (8, 4)
    assert isinstance(answers[1], RefusedError)
    assert answers[1].details == {"n": "3"}


async def test_a_call_has_so_many_items_at_most(doubling: Doubling) -> None:
    gathering = Gathering(doubling, items_max=2, calls_max=1)

    await asyncio.gather(*(gathering.ask(n, timeout_seconds=5) for n in (2, 4, 6, 8, 10)))

    assert doubling.calls == [[2, 4], [6, 8], [10]]


async def test_what_is_asked_while_calls_are_under_way_goes_together_after_them() -> None:
    doubling = Doubling()
    gathering = Gathering(doubling, calls_max=1)
    first = asyncio.create_task(gathering.ask(2, timeout_seconds=5))
    await eventually(lambda: doubling.calls == [[2]])
    later = [asyncio.create_task(gathering.ask(n, timeout_seconds=5)) for n in (4, 6)]
    await asyncio.sleep(0)
    latest = asyncio.create_task(gathering.ask(8, timeout_seconds=5))

    doubling.may_answer.set()

    assert await asyncio.gather(first, *later, latest) == [4, 8, 12, 16]
    assert doubling.calls == [[2], [4, 6, 8]]


async def test_a_call_that_fails_fails_for_every_item(doubling: Doubling) -> None:
    doubling.failure = UnavailableError("Away.", reason="ledger_stopping")
    gathering = Gathering(doubling)

    answers = await asyncio.gather(*(gathering.ask(n, timeout_seconds=5) for n in (2, 4)), return_exceptions=True)

    assert [getattr(answer, "reason", None) for answer in answers] == ["ledger_stopping"] * 2
    doubling.failure = None
    assert await gathering.ask(2, timeout_seconds=5) == 4


async def test_an_item_whose_caller_left_before_its_call_is_not_sent() -> None:
    doubling = Doubling()
    gathering = Gathering(doubling, calls_max=1)
    first = asyncio.create_task(gathering.ask(2, timeout_seconds=5))
    await eventually(lambda: doubling.calls == [[2]])
    left = asyncio.create_task(gathering.ask(4, timeout_seconds=5))
    stays = asyncio.create_task(gathering.ask(6, timeout_seconds=5))
    await asyncio.sleep(0)

    left.cancel()
    doubling.may_answer.set()

    assert (await first, await stays) == (4, 12)
    assert doubling.calls == [[2], [6]]


async def test_an_item_whose_time_is_over_leaves_the_others_their_time() -> None:
    doubling = Doubling()
    gathering = Gathering(doubling)
    hasty = asyncio.create_task(gathering.ask(2, timeout_seconds=0.05))
    patient = asyncio.create_task(gathering.ask(4, timeout_seconds=5))

    with pytest.raises(UnavailableError) as over:
        await hasty
    doubling.may_answer.set()

    assert over.value.reason == "deadline_exceeded"
    assert await patient == 8
    assert 4 < doubling.seconds[0] <= 5


async def test_a_call_that_nobody_waits_for_any_more_is_cancelled_and_makes_room() -> None:
    doubling = Doubling()
    gathering = Gathering(doubling, calls_max=1)
    asking = [asyncio.create_task(gathering.ask(n, timeout_seconds=5)) for n in (2, 4)]
    await eventually(lambda: bool(doubling.calls))

    for task in asking:
        task.cancel()
    await eventually(lambda: doubling.cancelled == 1)
    doubling.may_answer.set()

    assert await gathering.ask(6, timeout_seconds=5) == 12


async def test_more_than_may_wait_are_told_to_come_back() -> None:
    doubling = Doubling()
    gathering = Gathering(doubling, waiting_max=2)
    asking = [asyncio.create_task(gathering.ask(n, timeout_seconds=5)) for n in (2, 4)]
    await asyncio.sleep(0)

    with pytest.raises(UnavailableError) as refused:
        await gathering.ask(6, timeout_seconds=5)
    doubling.may_answer.set()

    assert refused.value.reason == "too_many_waiting"
    assert await asyncio.gather(*asking) == [4, 8]
    assert await gathering.ask(6, timeout_seconds=5) == 12


async def test_answers_that_do_not_match_what_was_asked_are_given_to_nobody() -> None:
    async def forgetful(_items: Sequence[int], _timeout_seconds: float) -> Sequence[int]:
        return [1]

    gathering = Gathering(forgetful)

    answers = await asyncio.gather(*(gathering.ask(n, timeout_seconds=5) for n in (2, 4)), return_exceptions=True)

    assert [getattr(answer, "reason", None) for answer in answers] == ["internal"] * 2


async def test_an_error_that_is_one_items_own_answer_is_told_to_nobody_else() -> None:
    bug = ValueError("can't be doubled")

    async def with_a_bug(items: Sequence[int], _timeout_seconds: float) -> Sequence[int | Exception]:
        return [bug if n == 2 else 2 * n for n in items]

    gathering = Gathering(with_a_bug)

    answers = await asyncio.gather(*(gathering.ask(n, timeout_seconds=5) for n in (2, 4)), return_exceptions=True)

    assert answers == [bug, 8]

"""One key, one effect, one answer: whatever is cached, whoever commits, and whatever was lost on the way."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.shape import KeyedCommand
from services.ledger.committer.cache import BookCache
from services.ledger.committer.pipeline import Pace
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import KeyReusedError, TradeFlowError
from tests.support.faulty_database import AFTER_COMMIT, BEFORE_COMMIT, Fault
from tests.support.ledger_commands import (
    BUYER,
    SELLER,
    an_id,
    capture,
    deposit,
    leg,
    open_account,
    reserve,
    transfer,
    void,
    withdraw,
)
from tests.support.ledger_committer import CommitterWorld, a_committer

Answer = Receipt | TradeFlowError

Who = Callable[[CommitterWorld, str], AbstractAsyncContextManager[CommitterWorld]]
"""Leads from the committer that was asked first to the one that is asked again."""


def effect_of(answer: Answer) -> object:
    """Tell what an answer says, whether or not it is a replay."""
    if isinstance(answer, Receipt):
        return answer.journal_sequence, answer.recorded_at
    return type(answer), answer.reason, answer.message, answer.details


FIRSTS: dict[str, Command] = {
    # Each would be answered otherwise now, if its key were not found.
    "accepted": deposit(amount=100, idempotency_key="accepted"),
    "accepted, and there are no funds for it now": withdraw(amount=10_000, idempotency_key="withdrawn"),
    "accepted, and its hold exists now": reserve("mine", amount=100, idempotency_key="reserved"),
    "accepted, and its hold is void now": void("voided", idempotency_key="voided"),
    "refused, and there are funds for it now": withdraw(amount=50_000, idempotency_key="refused"),
    "refused, and its account is open now": reserve("theirs", 5, SELLER, idempotency_key="not open"),
    "already true": open_account(idempotency_key="open"),
    "refused, and told to the world": capture("mine", 5_000, idempotency_key="too much"),
}
"""Commands by what became of them; they are run in this order."""


async def run_all(world: CommitterWorld) -> dict[str, Answer]:
    """Run them, and let the world move on."""
    submit = world.committer.submit_many
    await submit([deposit(amount=10_500), reserve("voided", 10)])
    answers = await submit(list(FIRSTS.values()))
    await submit([deposit(amount=100_000), deposit(SELLER)])
    await submit([withdraw(amount=99_000)])
    reasons = [getattr(answer, "reason", "done") for answer in answers]
    assert reasons == [*["done"] * 4, "insufficient_funds", "account_not_open", "done", "exceeds_hold"]
    return dict(zip(FIRSTS, answers, strict=True))


async def assert_first_answers(world: CommitterWorld, firsts: dict[str, Answer], *, at_once: bool) -> None:
    """Repeat every command, in one call or one after the other, and hold the answers against the first ones."""
    before = await world.revision()
    commands = list(FIRSTS.values())
    if at_once:
        again = await world.committer.submit_many(commands)
    else:
        again = [(await world.committer.submit_many([command]))[0] for command in commands]
    for name, answer in zip(FIRSTS, again, strict=True):
        assert effect_of(answer) == effect_of(firsts[name]), name
        assert getattr(answer, "replayed", True), name
    assert await world.revision() == before, "a repetition changes nothing"


@asynccontextmanager
async def the_same(world: CommitterWorld, _url: str) -> AsyncIterator[CommitterWorld]:
    yield world


@asynccontextmanager
async def one_that_was_started_again(_: CommitterWorld, url: str) -> AsyncIterator[CommitterWorld]:
    async with a_committer(url, lease_row=2) as world:
        await world.committer.submit(deposit(amount=1))
        yield world


@asynccontextmanager
async def a_careful_one(_: CommitterWorld, url: str) -> AsyncIterator[CommitterWorld]:
    async with a_committer(url, lease_row=2, pace=Pace(careful_batches=100)) as world:
        yield world


@asynccontextmanager
async def one_that_stands_by(_: CommitterWorld, url: str) -> AsyncIterator[CommitterWorld]:
    async with a_committer(url) as world:
        assert not world.committer.leader
        yield world


@asynccontextmanager
async def one_that_forgot_the_keys(_: CommitterWorld, url: str) -> AsyncIterator[CommitterWorld]:
    async with a_committer(url, lease_row=2, cache=BookCache(1, keys_max=1)) as world:
        await world.committer.submit_many([deposit(amount=1), deposit(amount=1)])
        yield world


WHO = [the_same, one_that_was_started_again, a_careful_one, one_that_stands_by, one_that_forgot_the_keys]


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize("who", WHO, ids=lambda who: who.__name__)
async def test_a_repeated_key_gets_its_first_answer_whoever_is_asked(
    engine_url: str, who: Who, *, at_once: bool
) -> None:
    async with a_committer(engine_url) as first:
        firsts = await run_all(first)
        async with who(first, engine_url) as world:
            await assert_first_answers(world, firsts, at_once=at_once)


@pytest.mark.parametrize("who", WHO, ids=lambda who: who.__name__)
async def test_a_repeated_key_with_other_content_is_a_conflict_whoever_is_asked(engine_url: str, who: Who) -> None:
    keys = [command.idempotency_key for command in FIRSTS.values() if isinstance(command, KeyedCommand)]
    others = [deposit(amount=77, idempotency_key=key) for key in keys]
    async with a_committer(engine_url) as first:
        await run_all(first)
        async with who(first, engine_url) as world:
            answers = await world.committer.submit_many(others)

    assert [type(answer) for answer in answers] == [KeyReusedError] * len(FIRSTS)


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_COMMIT])
async def test_a_repetition_beside_a_lost_commit_gets_the_first_answer(engine_url: str, at: int) -> None:
    async with a_committer(engine_url) as world:
        await world.committer.submit(deposit(amount=1_000))
        world.database.faults = [Fault(at)]
        command = withdraw(amount=700)

        answers = await asyncio.gather(*[world.committer.submit(command) for _ in range(5)])

        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 4
        assert len({effect_of(answer) for answer in answers}) == 1
        assert await world.posted() == 300


async def test_a_repetition_that_is_planned_while_the_first_is_under_way_gets_its_answer(engine_url: str) -> None:
    async with a_committer(engine_url) as world:
        await world.committer.submit(deposit(amount=1_000))
        world.database.hold_commits_back()
        command = withdraw(amount=700)
        first = asyncio.create_task(world.committer.submit(command))
        await world.database.reached_commit.wait()
        second = asyncio.create_task(world.committer.submit(command))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not second.done(), "what isn't durable yet is no answer"

        world.database.let_commits_go()

        assert effect_of(await first) == effect_of(await second)
        assert [(await first).replayed, (await second).replayed] == [False, True]


async def test_a_key_that_another_committer_took_meanwhile_is_found_whatever_was_planned(engine_url: str) -> None:
    async with a_committer(engine_url) as one, a_committer(engine_url, lease_row=2) as other:
        command = deposit(amount=100)
        for world in (one, other, one, other):
            await world.committer.submit(deposit(amount=1))

        first, second = await one.committer.submit(command), await other.committer.submit(command)

        assert effect_of(first) == effect_of(second)
        assert second.replayed
        assert await one.posted() == 104


PEOPLE = [BUYER, SELLER, *[an_id(f"person {number}") for number in range(6)]]


def random_commands(rng: random.Random, count: int) -> list[Command]:
    """Make commands that often meet on the same accounts and holds, and are often refused."""
    return [random_command(rng, {"idempotency_key": f"random {number}"}) for number in range(count)]


def random_command(rng: random.Random, key: dict[str, Any]) -> Command:
    person, other = rng.sample(PEOPLE, 2)
    amount, hold = rng.randrange(1, 500), f"hold {rng.randrange(40)}"
    makers: tuple[Callable[[], Command], ...] = (
        lambda: deposit(person, amount, **key),
        lambda: withdraw(person, amount, **key),
        lambda: transfer(leg(person, -amount), leg(other, amount), **key),
        lambda: reserve(hold, amount, person, **key),
        lambda: void(hold, person, **key),
        lambda: capture(hold, {other: amount // 2 + 1}, person, **key),
    )
    return rng.choice(makers)()


def random_fault(rng: random.Random) -> Fault | None:
    return rng.choice((None, None, None, Fault(rng.randrange(14)), Fault(BEFORE_COMMIT), Fault(AFTER_COMMIT)))


@pytest.mark.parametrize("seed", [0, *[pytest.param(seed, marks=pytest.mark.ci) for seed in range(1, 6)]])
async def test_two_leaders_that_lose_connections_give_each_key_one_answer(engine_url: str, seed: int) -> None:
    """Small caches, small batches, two that both believe to lead, and a fault in every other transaction."""
    rng = random.Random(seed)  # noqa: S311 - a test's seed
    commands = random_commands(rng, 300)
    answers: dict[str, set[object]] = {}
    first_hand: Counter[str] = Counter()
    async with (
        a_committer(engine_url, batch_commands_max=8, cache=BookCache(1, names_max=6, keys_max=20)) as one,
        a_committer(engine_url, batch_commands_max=8, lease_row=2) as other,
    ):

        async def call(world: CommitterWorld, some: Sequence[Command]) -> None:
            for command, answer in zip(some, await world.committer.submit_many(some), strict=True):
                assert getattr(answer, "reason", "") != "internal"
                # A refusal that isn't remembered, such as of an unknown hold, may become another answer later.
                if isinstance(answer, Receipt) and isinstance(command, KeyedCommand):
                    answers.setdefault(command.idempotency_key, set()).add(effect_of(answer))
                    first_hand[command.idempotency_key] += not answer.replayed

        for _ in range(40):
            calls = []
            for _ in range(4):
                world = rng.choice((one, one, one, other))
                world.database.faults = [random_fault(rng) for _ in range(3)]
                calls.append(call(world, rng.choices(commands, k=rng.randrange(1, 12))))
            await asyncio.gather(*calls)
        one.database.faults, other.database.faults = [], []

        assert {len(effects) for effects in answers.values()} == {1}
        assert max(first_hand.values()) == 1
        assert one.ahead("kept") > 0

"""The connection to the database is lost exactly at a COMMIT: before it arrives, or after it, before its answer.

Nobody can know what happened, so that callers get their answer or are told to try again; and whoever does so with the
same key gets the one effect. Each COMMIT of a story is lost in a run of its own.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

import pytest

from services.ledger.commands.command import CallersCommand
from services.ledger.committer.committer import Committer, committing
from services.ledger.domain.receipt import Receipt
from services.orders.domain.order import CaptureMode
from services.orders.domain.order_state import OrderState
from services.runtime.errors import UnavailableError
from tests.integration.conftest import ledger_database
from tests.integration.journal import assert_book_keeps
from tests.support.fault_links import Link, Loss, address_of, only, serving_links
from tests.support.ledger_commands import BUYER, capture, deposit, refund, reserve, void
from tests.support.orders_world import OrdersWorld, orders_world

COMMITS_MAX = 60
"""More than any story has."""

ATTEMPTS_MAX = 5
"""One COMMIT of a run is lost: a call that needs more attempts is not answered at all."""

T = TypeVar("T")


@pytest.fixture
def link(mysql_url: str) -> Iterator[Link]:
    """Stand before the test's database."""
    with serving_links({"database": address_of(mysql_url)}) as links:
        yield links["database"]


@pytest.fixture
async def world(link: Link, mysql_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(link.url(mysql_url)) as world:
        yield world


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until it is answered; at once, since a request whose connection was lost leaves no key behind."""
    for _ in range(ATTEMPTS_MAX):
        with suppress(UnavailableError):
            return await call()
    raise AssertionError("the call was never answered")


async def buy_and_give_back(world: OrdersWorld, run: str) -> None:
    """Tell one story: an order that is paid and refunded, one that is confirmed by hand, one that is called off."""
    paid = (await answered(lambda: world.place(key=f"paid {run}"))).order.order_id
    waiting = (await answered(lambda: world.place(key=f"waiting {run}", capture=CaptureMode.MANUAL))).order.order_id
    unwanted = (await answered(lambda: world.place(key=f"unwanted {run}", capture=CaptureMode.MANUAL))).order.order_id
    await answered(lambda: world.confirm(waiting, key=f"confirm {run}"))
    await answered(lambda: world.cancel(unwanted, key=f"cancel {run}"))
    captured = await answered(world.capture)
    await answered(lambda: world.deliver(captured))
    for order_id in (paid, waiting):
        await answered(partial(world.refund, order_id, key=f"refund {order_id}"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", Loss)
async def test_orders_lose_a_connection_at_any_commit_and_each_key_has_one_effect(
    world: OrdersWorld, link: Link, loss: Loss
) -> None:
    for number in range(1, COMMITS_MAX):
        lost_before = link.commits_lost
        link.lose(only(number, loss))
        await buy_and_give_back(world, f"with COMMIT {number} lost")
        link.heal()

        if link.commits_lost == lost_before:
            break
    else:
        pytest.fail("a story never ended")
    orders = await world.all_orders()
    assert len(orders) == 3 * number
    assert {order.state for order in orders} == {OrderState.REFUNDED, OrderState.CANCELLED}
    await world.assert_agreed()
    assert number > 10


@pytest.fixture
async def committer(link: Link, mysql_url: str) -> AsyncIterator[Committer]:
    async with ledger_database(link.url(mysql_url)) as database, committing(database, book_id=1) as committer:
        yield committer


def a_story(run: str) -> list[list[CallersCommand]]:
    """Build batches that depend on each other."""
    return [
        [deposit(BUYER, 10_000), reserve(f"order {run}", 1_000, BUYER), reserve(f"dear {run}", 10**9, BUYER)],
        [capture(f"order {run}", 600, BUYER)],
        [refund(f"order {run}", 100, BUYER), void(f"order {run}", BUYER)],
    ]


async def tell(committer: Committer, commands: list[CallersCommand], told: dict[str, int | str]) -> None:
    """Submit until each command was answered, and keep what was said."""
    for _ in range(ATTEMPTS_MAX):
        answers = await committer.submit_many(commands)
        for command, answer in zip(commands, answers, strict=True):
            if not isinstance(answer, UnavailableError):
                said = answer.journal_sequence if isinstance(answer, Receipt) else answer.reason
                assert told.setdefault(command.idempotency_key, said) == said
        commands = [command for command in commands if command.idempotency_key not in told]
        if not commands:
            return
    raise AssertionError(f"never answered: {commands}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", Loss)
async def test_the_ledger_loses_a_connection_at_any_commit_and_each_key_has_one_effect(
    committer: Committer, link: Link, mysql_url: str, loss: Loss
) -> None:
    told: dict[str, int | str] = {}
    accepted = 0
    for number in range(1, COMMITS_MAX):
        lost_before, batches = link.commits_lost, a_story(f"{loss.name} {number}")
        link.lose(only(number, loss))
        for commands in batches:
            await tell(committer, commands, told)
        for commands in batches:
            await tell(committer, commands, told)
        link.heal()

        accepted += sum(len(commands) for commands in batches) - 1
        if link.commits_lost == lost_before:
            break
    else:
        pytest.fail("a story never ended")
    async with ledger_database(mysql_url) as database:
        assert await assert_book_keeps(database, told) == accepted
    assert number > len(batches)

"""An endpoint is removed at once, however much waits for it, and that ends step by step, on every database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from services.orders.domain.external_identity import ExternalPerson
from services.orders.domain.user import Role, User
from services.orders.domain.webhook import EndpointNotFoundError, WebhookEndpoint
from services.orders.outbound.passwords import Argon2Passwords
from services.orders.outbound.store import SqlIdentityStore
from services.orders.outbound.webhook_ending import READ_PENDING, READ_REMOVED, WebhookEnder
from services.orders.use_cases.forget_webhooks import forget_webhooks
from services.orders.use_cases.issue_password_reset import issue_password_reset
from services.orders.use_cases.keep_webhooks import remove_webhook, show_webhooks
from services.orders.use_cases.register_user import RegisterUser, register_user
from services.orders.use_cases.reset_password import reset_password
from services.orders.use_cases.sign_in_externally import sign_in_externally
from services.orders.webhook_ports import Attempt, TakenDelivery
from services.runtime.errors import UnauthenticatedError
from services.runtime.ids import new_id
from services.runtime.step_size import StepSize
from tests.parts.sql_servers import administrator
from tests.support.fake_endpoints import FakeEndpoints
from tests.support.orders_world import OrdersWorld, orders_world
from tests.support.webhooks import deliver, listen, send_to

TakeOver = Callable[[OrdersWorld, Argon2Passwords], Awaitable[None]]

EMAIL = "ann@example.org"
PASSWORD = "correct horse battery"

BACKLOG = 1_000
"""Many steps, and soon written."""

STEP_ROWS_MAX = 100
"""Of a step in these tests."""


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


async def remove(world: OrdersWorld, endpoint: WebhookEndpoint) -> None:
    await remove_webhook(endpoint.endpoint_id, merchant_id=endpoint.merchant_id, store=world.store, clock=world.clock)


async def states(world: OrdersWorld, endpoint: WebhookEndpoint) -> Counter[str]:
    async with world.database.snapshot() as connection:
        rows = await connection.fetch(
            "SELECT state FROM webhook_deliveries WHERE endpoint_id = $1", endpoint.endpoint_id
        )
    return Counter(row[0] for row in rows)


def an_ender(world: OrdersWorld) -> WebhookEnder:
    return WebhookEnder(world.database, world.clock, StepSize(rows_max=STEP_ROWS_MAX, seconds_max=60))


async def ended(ender: WebhookEnder) -> list[int]:
    """End until nothing is left, and tell the steps."""
    steps = []
    while step := await ender.step():
        steps.append(step)
    return steps


class RemovingEndpoints(FakeEndpoints):
    """The first message that they take has its endpoint removed."""

    def __init__(self, world: OrdersWorld) -> None:
        super().__init__()
        self._world = world

    async def send(self, taken: TakenDelivery, *, secrets: Sequence[bytes], now: datetime) -> Attempt:
        attempt = await super().send(taken, secrets=secrets, now=now)
        if len(self.sent) == 1:
            await remove(self._world, taken.endpoint)
        return attempt


async def test_removing_an_endpoint_ends_its_backlog_in_bounded_steps(world: OrdersWorld) -> None:
    gone, there = await listen(world), await listen(world)
    for endpoint in (gone, there):
        await send_to(world, endpoint, BACKLOG)

    await remove(world, gone)
    at_once = await states(world, gone)
    steps = await ended(an_ender(world))

    assert at_once == {"PENDING": BACKLOG}, "the removal itself writes the endpoint's row alone"
    assert (sum(steps), max(steps)) == (BACKLOG, STEP_ROWS_MAX)
    assert (await states(world, gone), await states(world, there)) == ({"DEAD": BACKLOG}, {"PENDING": BACKLOG})


async def test_nothing_is_sent_to_an_endpoint_that_was_removed_with_a_backlog(world: OrdersWorld) -> None:
    gone, there, endpoints = await listen(world), await listen(world), FakeEndpoints()
    await send_to(world, gone, BACKLOG)
    await send_to(world, there, 3)

    await remove(world, gone)
    before = await deliver(world, endpoints)
    await an_ender(world).step()
    between = await deliver(world, endpoints)

    assert (before.taken, between.taken) == (3, 0)
    assert endpoints.taken.keys() == {there.endpoint_id}


async def test_what_a_pass_had_taken_is_not_sent_once_its_endpoint_is_removed(world: OrdersWorld) -> None:
    gone, endpoints = await listen(world), RemovingEndpoints(world)
    await send_to(world, gone, 5)

    delivered = await deliver(world, endpoints)
    await ended(an_ender(world))

    assert (delivered.taken, len(endpoints.sent)) == (5, 1)
    assert await states(world, gone) == {"DELIVERED": 1, "DEAD": 4}


async def test_what_a_process_that_died_had_not_ended_another_ends(world: OrdersWorld) -> None:
    first, second = await listen(world), await listen(world)
    for endpoint in (first, second):
        await send_to(world, endpoint, BACKLOG)
        await remove(world, endpoint)
        await world.clock.advance(1)
    died = an_ender(world)
    before = await died.step()
    await world.clock.advance(30 * 24 * 3_600)

    steps = await ended(an_ender(world))

    assert 0 < before < BACKLOG
    assert sum(steps) == 2 * BACKLOG - before
    assert (await states(world, first), await states(world, second)) == ({"DEAD": BACKLOG}, {"DEAD": BACKLOG})


async def test_what_is_written_to_an_endpoint_after_its_removal_ends_too(world: OrdersWorld) -> None:
    early, late, ender = await listen(world), await listen(world), an_ender(world)
    for endpoint in (early, late):
        await remove(world, endpoint)
        await world.clock.advance(1)
    await send_to(world, late, 1)
    before = await ended(ender)

    # As a move does that had looked who listens before the removal, and commits after it.
    await send_to(world, early, 2)
    await world.clock.advance(15 * 60)

    assert (before, await ended(ender)) == ([1], [2])
    assert await states(world, early) == {"DEAD": 2}


async def test_of_two_who_end_none_stumbles_over_the_other(world: OrdersWorld) -> None:
    gone = await listen(world)
    await send_to(world, gone, BACKLOG)
    await remove(world, gone)

    await asyncio.gather(ended(an_ender(world)), ended(an_ender(world)))

    assert await states(world, gone) == {"DEAD": BACKLOG}
    with pytest.raises(EndpointNotFoundError):
        await remove(world, gone)


@pytest.mark.parametrize(
    "engine_url", [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")], indirect=True
)
async def test_who_looks_for_what_is_left_reads_no_backlog(world: OrdersWorld, engine_url: str) -> None:
    gone, there, last = [await listen(world) for _ in range(3)]
    await send_to(world, there, BACKLOG)
    await send_to(world, gone, BACKLOG, state="DEAD")
    await send_to(world, last, BACKLOG, state="DELIVERED")
    await send_to(world, last, 3)
    for endpoint in (gone, last):
        await remove(world, endpoint)
    with closing(administrator(engine_url)) as server, server.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {urlsplit(engine_url).path[1:]}.webhook_deliveries")

    async with world.database.snapshot() as connection:
        before = await connection.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'")
        ((found, _),) = await connection.fetch(READ_REMOVED, 0)
        pending = await connection.fetch(READ_PENDING, found, STEP_ROWS_MAX)
        after = await connection.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'")

    assert (found, len(pending)) == (last.endpoint_id, 3)
    assert sum(int(row[1]) for row in after) - sum(int(row[1]) for row in before) < BACKLOG / 2


@pytest.mark.parametrize("engine_url", ["sqlite"], indirect=True)
async def test_what_is_left_is_found_by_indexes(world: OrdersWorld) -> None:
    async with world.database.snapshot() as connection:
        removed = await connection.fetch(f"EXPLAIN QUERY PLAN {READ_REMOVED}", 0)
        pending = await connection.fetch(f"EXPLAIN QUERY PLAN {READ_PENDING}", new_id(), 100)

    plan = [row[-1] for row in removed]
    assert "SEARCH e USING INDEX webhook_endpoints_by_turn (removed_at>?)" in plan
    assert "SEARCH d USING COVERING INDEX webhook_deliveries_by_turn (endpoint_id=? AND state=?)" in plan
    assert [row[-1] for row in pending] == [
        "SEARCH webhook_deliveries USING INDEX webhook_deliveries_by_turn (endpoint_id=? AND state=?)"
    ]


async def register(world: OrdersWorld, passwords: Argon2Passwords) -> User:
    wanted = RegisterUser(email=EMAIL, password=PASSWORD, role=Role.MERCHANT)
    return await register_user(wanted, store=SqlIdentityStore(world.database), passwords=passwords, clock=world.clock)


async def come_by_an_issuer(world: OrdersWorld, passwords: Argon2Passwords) -> None:
    """Sign in as the owner of the address, for the first time."""
    person = ExternalPerson(
        issuer="https://id.example", subject="ann", verified_email=EMAIL, roles=frozenset({Role.BUYER})
    )
    await sign_in_externally(
        person,
        registers_unknown=False,
        tokens_expire_at=world.clock.now(),
        store=SqlIdentityStore(world.database),
        passwords=passwords,
        clock=world.clock,
    )


async def reset_the_password(world: OrdersWorld, passwords: Argon2Passwords) -> None:
    """Set a new one with a token that was sent to the address."""
    store = SqlIdentityStore(world.database)
    issued = await issue_password_reset(EMAIL, store=store, clock=world.clock)
    await reset_password(issued.token, PASSWORD, world.clock.now(), store=store, passwords=passwords, clock=world.clock)


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    with closing(Argon2Passwords(memory_kibibytes=8, passes=1)) as passwords:
        yield passwords


TAKE_OVER = pytest.mark.parametrize("take_over", [come_by_an_issuer, reset_the_password])


@TAKE_OVER
async def test_who_had_the_account_before_its_owner_hears_of_nothing_any_more(
    world: OrdersWorld, passwords: Argon2Passwords, take_over: TakeOver
) -> None:
    account, endpoints = await register(world, passwords), FakeEndpoints()
    left = [await listen(world, account.user_id) for _ in range(2)]
    others = await listen(world)
    for endpoint in [*left, others]:
        await send_to(world, endpoint, 1)

    await take_over(world, passwords)
    delivered = await deliver(world, endpoints)
    steps = await ended(an_ender(world))

    assert await show_webhooks(merchant_id=account.user_id, store=world.store) == []
    assert [taken.endpoint.endpoint_id for taken in endpoints.sent] == [others.endpoint_id]
    assert (delivered.delivered, sum(steps)) == (1, 2)


@TAKE_OVER
async def test_a_call_from_before_the_owner_came_registers_nothing_after_it(
    world: OrdersWorld, passwords: Argon2Passwords, take_over: TakeOver
) -> None:
    account = await register(world, passwords)

    await take_over(world, passwords)

    with pytest.raises(UnauthenticatedError) as refused:
        await listen(world, account.user_id)
    assert refused.value.reason == "token_revoked"
    own = await listen(world, account.user_id, generation=1)
    assert await show_webhooks(merchant_id=account.user_id, store=world.store) == [own]


async def test_an_endpoint_that_was_removed_goes_once_all_that_was_for_it_is_forgotten(world: OrdersWorld) -> None:
    gone, empty, there = [await listen(world) for _ in range(3)]
    for endpoint in (gone, there):
        await send_to(world, endpoint, 3, state="DELIVERED")
    for endpoint in (gone, empty):
        await remove(world, endpoint)

    async def forget(*, deliveries: bool = False) -> set[UUID]:
        """Forget what ended before now, and tell which endpoints are left."""
        async with world.store.transaction() as rows:
            if deliveries:
                await rows.webhooks.forget(updated_before=world.clock.now(), rows_max=100)
        async with world.store.transaction() as rows:
            await rows.webhooks.forget_endpoints(removed_before=world.clock.now(), rows_max=100)
        async with world.database.snapshot() as connection:
            return {row[0] for row in await connection.fetch("SELECT endpoint_id FROM webhook_endpoints")}

    ids = [endpoint.endpoint_id for endpoint in (gone, empty, there)]
    at_once = await forget()
    await world.clock.advance(1)
    with_messages = await forget()
    without = await forget(deliveries=True)

    assert (at_once, with_messages, without) == (set(ids), {ids[0], ids[2]}, {ids[2]})


async def test_messages_are_forgotten_and_then_their_removed_endpoint(world: OrdersWorld) -> None:
    gone = await listen(world)
    await send_to(world, gone, 3, state="DEAD")
    await remove(world, gone)
    world.clock._now += timedelta(days=31)

    forgotten = await forget_webhooks(store=world.store, clock=world.clock, retention=timedelta(days=30))

    assert forgotten == 4
    async with world.database.snapshot() as connection:
        assert await connection.fetch("SELECT endpoint_id FROM webhook_endpoints") == []

"""A page of what a large seller sold, or a large buyer bought, reads about itself, on every database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from services.orders.domain.order_state import OrderState
from services.orders.outbound.sale_reads import SqlSaleReads
from services.orders.ports import OrderFilter
from services.orders.use_cases.show_sales import show_sales
from services.runtime.clock import to_micros
from services.runtime.ids import new_id
from tests.parts.sql_servers import administrator
from tests.support.orders_world import OrdersWorld, orders_world

ORDERS = 3_000
"""Of the one seller, and of the one buyer."""

ROWS_READ_MAX = 500
"""For a page of 20: ids, orders, lines, and what a server copies of them in between."""

ADD_ORDER = """
    INSERT INTO orders (order_id, version, state, buyer_id, capture, currency, total_minor, captured_minor,
        refunded_minor, fee_basis_points, rejection_reason, rejection_message, created_at, updated_at, expires_at,
        due_at, looks)
    VALUES ($1, 3, $2, $3, 'automatic', 'EUR', 1000, 1000, 0, 250, '', '', $4, $4, $4, NULL, 0)
"""

ADD_LINE = """
    INSERT INTO order_lines (order_id, line_number, sku, title, quantity, unit_price_minor, seller_id, stock_tracked,
        fee_basis_points, refunded_quantity, refunded_minor)
    VALUES ($1, $2, $3, 'Cup', 1, 500, $4, $5, NULL, 0, 0)
"""

Ids = list[UUID]


@pytest.fixture
async def world(engine_url: str) -> AsyncIterator[OrdersWorld]:
    async with orders_world(engine_url) as world:
        yield world


async def sell(world: OrdersWorld) -> Ids:
    """Write settled orders of two lines, the first one alone cancelled; return their ids, the oldest first."""
    micros = to_micros(world.clock.now())
    ids = [new_id() for _ in range(ORDERS)]
    states = ["CANCELLED", *["SETTLED"] * (ORDERS - 1)]
    async with world.database.transaction() as connection:
        await connection.execute_many(
            ADD_ORDER,
            [(order_id, state, world.buyer.user_id, micros) for order_id, state in zip(ids, states, strict=True)],
        )
        lines = [(one, number, b"cup", world.seller.user_id, False) for one in ids for number in (1, 2)]
        await connection.execute_many(ADD_LINE, lines)
    return ids


async def sold(world: OrdersWorld, state: OrderState | None = None, before: UUID | None = None) -> Ids:
    wanted = OrderFilter(seller_id=world.seller.user_id, state=state, before=before, orders_max=20)
    return [order.order_id for order in (await world.reads.orders(wanted)).items]


async def bought(world: OrdersWorld, state: OrderState | None = None, before: UUID | None = None) -> Ids:
    wanted = OrderFilter(buyer_id=world.buyer.user_id, state=state, before=before, orders_max=20)
    return [order.order_id for order in (await world.reads.orders(wanted)).items]


async def sales(world: OrdersWorld, state: OrderState | None = None, before: UUID | None = None) -> Ids:
    part = await show_sales(
        seller_id=world.seller.user_id,
        state=state,
        currency="",
        placed_from=None,
        placed_until=None,
        before=before,
        sales_max=20,
        reads=SqlSaleReads(world.database),
    )
    return [one.sale.order_id for one in part.items]


LISTS = pytest.mark.parametrize("listed", [sold, bought, sales])
Listed = Callable[..., Awaitable[Ids]]


@LISTS
async def test_pages_are_what_they_were(world: OrdersWorld, listed: Listed) -> None:
    newest_first = (await sell(world))[::-1]

    assert await listed(world) == newest_first[:20]
    assert await listed(world, OrderState.SETTLED, newest_first[999]) == newest_first[1_000:1_020]
    assert await listed(world, OrderState.CANCELLED) == newest_first[-1:]
    assert await listed(world, OrderState.EXPIRED) == []


@LISTS
@pytest.mark.parametrize(
    "engine_url", [pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")], indirect=True
)
async def test_a_page_reads_no_others(world: OrdersWorld, engine_url: str, listed: Listed) -> None:
    newest_first = (await sell(world))[::-1]
    with closing(administrator(engine_url)) as server, server.cursor() as cursor:
        for table in ("orders", "order_lines"):
            cursor.execute(f"ANALYZE TABLE {urlsplit(engine_url).path[1:]}.{table}")

    before = await rows_read(world)
    page = await listed(world, OrderState.SETTLED)
    first = await rows_read(world) - before
    far = await listed(world, None, newest_first[-21])

    assert page == newest_first[:20]
    assert len(far) >= 19
    assert max(first, await rows_read(world) - before - first) < ROWS_READ_MAX


async def rows_read(world: OrdersWorld) -> int:
    """Tell how many rows were read so far by the session that one look after the other takes."""
    async with world.database.snapshot() as connection:
        counted = await connection.fetch("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(row[1]) for row in counted)

"""Webhooks for tests of whatever sends them: who listens, what waits without the moves, and a pass over it."""

from contextlib import aclosing
from functools import partial
from uuid import UUID

from services.orders.domain.webhook import WebhookEndpoint
from services.orders.outbound.webhook_notices import ADD_DELIVERY
from services.orders.outbound.webhook_overview import endpoint_is_there
from services.orders.use_cases.deliver_webhooks import Delivered, Deliveries
from services.orders.use_cases.keep_webhooks import register_webhook
from services.runtime.clock import to_micros
from services.runtime.ids import new_id
from tests.support.fake_endpoints import FakeEndpoints
from tests.support.orders_world import OrdersWorld, an_actor

ATTEMPTS_MAX = 3


async def listen(world: OrdersWorld, merchant_id: UUID | None = None, *, generation: int = 0) -> WebhookEndpoint:
    """Register an endpoint of a merchant, or of a new one."""
    return await register_webhook(
        "https://shop.example",
        merchant_id=merchant_id or an_actor().user_id,
        generation=generation,
        plain_http_allowed=False,
        store=world.store,
        clock=world.clock,
    )


async def deliver(world: OrdersWorld, endpoints: FakeEndpoints, *, failing: bool = False) -> Delivered:
    """Try what is due, as one of the two loops does, and wait for all of it."""
    deliveries = Deliveries(
        failing=failing,
        store=world.store,
        sender=endpoints,
        is_there=partial(endpoint_is_there, world.database),
        clock=world.clock,
        attempts_max=ATTEMPTS_MAX,
        pass_seconds_max=3600,
    )
    async with aclosing(deliveries):
        return await deliveries.deliver()


async def send_to(world: OrdersWorld, endpoint: WebhookEndpoint, count: int, *, state: str = "PENDING") -> None:
    """Write so many deliveries that are due, or have ended."""
    micros = to_micros(world.clock.now())
    rows = [
        (endpoint.endpoint_id, new_id(), "order.confirmed", new_id(), b"{}", micros, micros, micros)
        for _ in range(count)
    ]
    async with world.database.transaction() as connection:
        await connection.execute_many(ADD_DELIVERY, rows)
        if state != "PENDING":
            await connection.execute(
                "UPDATE webhook_deliveries SET state = $1, due_at = NULL WHERE endpoint_id = $2 AND state = 'PENDING'",
                state,
                endpoint.endpoint_id,
            )

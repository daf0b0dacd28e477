"""Webhooks that wait, written as a move writes them, without the moves."""

from services.orders.domain.webhook import WebhookEndpoint
from services.orders.outbound.webhook_notices import ADD_DELIVERY
from services.runtime.clock import to_micros
from services.runtime.ids import new_id
from tests.support.orders_world import OrdersWorld


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
                "UPDATE webhook_deliveries SET state = $1, due_at = NULL WHERE endpoint_id = $2",
                state,
                endpoint.endpoint_id,
            )

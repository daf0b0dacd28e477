"""Show orders to those who may know of them."""

from uuid import UUID

from services.orders.domain.actor import Actor
from services.orders.domain.order import Order
from services.orders.domain.order_state import OrderState
from services.orders.list_part import Part
from services.orders.ports import OrderFilter, Reads


async def show_order(order_id: UUID, *, actor: Actor, reads: Reads) -> Order:
    """Show one order.

    Raises:
        NotFoundError: `order_not_found`: absent, or somebody else's.
    """
    return actor.see(await reads.order(order_id))


async def show_orders(
    *, actor: Actor, as_seller: bool, state: OrderState | None, before: UUID | None, orders_max: int, reads: Reads
) -> Part[Order]:
    """Show the orders that the actor bought, or those with a line that the actor sells; newest first."""
    return await reads.orders(
        OrderFilter(
            buyer_id=None if as_seller else actor.user_id,
            seller_id=actor.user_id if as_seller else None,
            state=state,
            before=before,
            orders_max=orders_max,
        )
    )

"""Show what was given back of an order."""

from dataclasses import replace
from uuid import UUID

from services.orders.domain.actor import Actor
from services.orders.domain.refund import Refund
from services.orders.ports import Reads, RefundFilter


async def show_refunds(
    order_id: UUID, *, actor: Actor, before: UUID | None, refunds_max: int, reads: Reads
) -> list[Refund]:
    """Show an order's refunds, newest first: sellers who aren't its buyer see what they gave back themselves.

    Raises:
        NotFoundError: `order_not_found`: absent, or somebody else's.
    """
    order = actor.see(await reads.order(order_id))
    seen = {line.line_number for line in actor.lines_seen(order)}
    sees_all = len(seen) == len(order.lines)
    wanted = RefundFilter(
        order_id=order_id, seller_id=None if sees_all else actor.user_id, before=before, refunds_max=refunds_max
    )
    return [
        replace(refund, lines=tuple(line for line in refund.lines if line.line_number in seen))
        for refund in await reads.refunds(wanted)
    ]

"""Show what was given back of an order."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from uuid import UUID

from services.orders.domain.actor import Actor
from services.orders.domain.refund import Refund
from services.orders.list_part import Part
from services.orders.ports import Reads, RefundFilter


async def show_refunds(
    order_id: UUID, *, actor: Actor, before: UUID | None, refunds_max: int, reads: Reads
) -> Part[Refund]:
    """Show an order's refunds, newest first: sellers who aren't its buyer see what they gave back themselves.

    Raises:
        NotFoundError: `order_not_found`: absent, or somebody else's.
    """
    order = actor.see(await reads.order(order_id))
    seen = {line.line_number for line in actor.lines_seen(order)}
    own = None if actor.sees_all(order) else actor.user_id
    wanted = RefundFilter(order_id=order_id, seller_id=own, before=before, refunds_max=refunds_max)
    part = await reads.refunds(wanted)
    return Part(items=[_as_seen(refund, seen, actor) for refund in part.items], next_before=part.next_before)


def _as_seen(refund: Refund, seen: AbstractSet[int], actor: Actor) -> Refund:
    """Leave others' lines out; and why it was refused, which may be theirs, too."""
    lines = tuple(line for line in refund.lines if line.line_number in seen)
    rejection = actor.rejection_seen(refund) if len(lines) == len(refund.lines) else None
    return replace(refund, lines=lines, rejection=rejection)

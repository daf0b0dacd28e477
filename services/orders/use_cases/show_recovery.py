"""Show how an order came to where it is."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from uuid import UUID

from services.orders.domain import mover
from services.orders.domain.actor import Actor
from services.orders.domain.order_state import OrderState
from services.orders.ports import Reads
from services.orders.recovery_ports import HistoryLine, RecoveryReads


async def show_history(
    order_id: UUID, *, actor: Actor, reads: Reads, recovery: RecoveryReads, after_version: int = 0
) -> list[HistoryLine]:
    """Show an order's moves after a version to those who may know of it, the first one first: up to a page of them.

    A seller among several isn't told who the others are, nor why refunds were refused, nor by which records they were
    made: they may be the others'.

    Raises:
        NotFoundError: `order_not_found`: absent, or somebody else's.
    """
    order = actor.see(await reads.order(order_id))
    lines = await recovery.history(order_id, after_version=after_version)
    if actor.sees_all(order):
        return lines
    others = {mover.user(seller_id) for seller_id in order.sellers - {actor.user_id, order.buyer_id}}
    return [_among_others(line, others) for line in lines]


def _among_others(line: HistoryLine, others: AbstractSet[str]) -> HistoryLine:
    if line.moved_by in others:
        line = replace(line, moved_by=mover.ANOTHER_SELLER)
    if line.from_state == OrderState.REFUNDING.value:
        line = replace(line, reason="", journal_sequence=None)
    return line

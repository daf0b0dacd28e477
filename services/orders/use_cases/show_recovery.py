"""Show how an order came to where it is, and which orders disagree with the ledger."""

from uuid import UUID

from services.orders.domain.actor import Actor
from services.orders.ports import Reads
from services.orders.recovery_ports import HistoryLine, RecoveryReads


async def show_history(order_id: UUID, *, actor: Actor, reads: Reads, recovery: RecoveryReads) -> list[HistoryLine]:
    """Show an order's moves to those who may know of it, the first one first.

    Raises:
        NotFoundError: `order_not_found`: absent, or somebody else's.
    """
    actor.see(await reads.order(order_id))
    return await recovery.history(order_id)

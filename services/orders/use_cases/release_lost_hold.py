"""Release what the ledger holds for an order that this database lost, as where it was restored to an earlier moment.

Nobody else does: loops and comparisons begin at orders, what is held for good doesn't end by itself, and orders alone
moves held money.
"""

from uuid import UUID

from services.orders.domain.hold import Hold
from services.orders.ports import Ledger, Store
from services.runtime.errors import ConflictError, NotFoundError


async def release_lost_hold(order_id: UUID, *, store: Store, ledger: Ledger) -> Hold:
    """Void what remains of the hold of an order that there is not; one that was released is as it was.

    Raises:
        ConflictError: `order_known`: there is such an order.
        NotFoundError: `hold_not_found`: the ledger never held anything for it.
        RefusedError: `hold_captured`: the sellers are paid, and the treasury has to reverse that.
        UnavailableError: The ledger is away.
    """
    async with store.transaction() as rows:
        order = await rows.orders.find(order_id)
    if order is not None:
        raise ConflictError("There is such an order, and its hold goes where the order goes.", reason="order_known")
    hold = await ledger.find_hold(order_id)
    if hold is None or hold.wallet_id is None:
        raise NotFoundError("The ledger holds nothing for it.", reason="hold_not_found")
    return await ledger.void_hold(order_id, buyer_id=hold.wallet_id)

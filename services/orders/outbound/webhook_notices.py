"""What sellers are told of an order's moves, written in the transaction that moves it.

Endpoints are looked up once a transaction, at its end, whatever number of orders it moved; where none of the sellers
listens, nothing is written.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from services.money_json import MoneyBody
from services.orders.domain.order import Order, StateChange
from services.orders.domain.order_state import OrderState
from services.orders.domain.shares import sums_of
from services.orders.domain.webhook import Notice, told_changes
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection
from services.runtime.ids import new_id

_LISTENING: Final = """
    SELECT merchant_id, endpoint_id FROM webhook_endpoints WHERE merchant_id IN ($in) AND removed_at IS NULL
"""

ADD_DELIVERY: Final = """
    INSERT INTO webhook_deliveries (endpoint_id, message_id, event_type, order_id, body, state, attempts, status, error,
        due_at, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $5, 'PENDING', 0, 0, '', $6, $7, $8)
"""


async def write_notices(connection: Connection, orders: Sequence[Order]) -> bool:
    """Write what the sellers of changed orders are told, for each endpoint that listens; tell whether any does."""
    told = [(order, change, event_type) for order in orders for change, event_type in told_changes(order)]
    if not told:
        return False
    sellers = sorted({seller_id for order, _, _ in told for seller_id in order.sellers})
    endpoints: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for merchant_id, endpoint_id in await connection.fetch_in(_LISTENING, sellers):
        endpoints[merchant_id].append(endpoint_id)
    if not endpoints:
        return False
    notices = [
        _notice(order, change, event_type, seller_id)
        for order, change, event_type in told
        for seller_id in sorted(order.sellers & endpoints.keys())
    ]
    await connection.write_at_commit(
        ADD_DELIVERY,
        [_row(endpoint_id, notice) for notice in notices for endpoint_id in endpoints[notice.merchant_id]],
    )
    return True


def _row(endpoint_id: UUID, notice: Notice) -> tuple[object, ...]:
    micros = to_micros(notice.created_at)
    return (
        endpoint_id,
        notice.message_id,
        notice.event_type,
        notice.order_id,
        notice.body,
        micros,
        micros,
        micros,
    )


def _notice(order: Order, change: StateChange, event_type: str, seller_id: UUID) -> Notice:
    return Notice(
        message_id=new_id(),
        merchant_id=seller_id,
        order_id=order.order_id,
        event_type=event_type,
        body=_body(order, change, event_type, seller_id),
        created_at=change.changed_at,
    )


def _body(order: Order, change: StateChange, event_type: str, seller_id: UUID) -> bytes:
    """Write the message: the order as it came into the state, with the seller's own lines only.

    Why a refund was refused is told to nobody else than who sells all of it: it may be another seller's.
    """
    is_told_why = change.from_state is not OrderState.REFUNDING or order.sellers == {seller_id}
    lines = [line for line in order.lines if line.seller_id == seller_id]
    sums = sums_of(order, lines)
    data: dict[str, Any] = {
        "order_id": order.order_id,
        "state": change.state.value,
        "version": change.version,
        "reason": change.note if is_told_why else "",
        "gross": MoneyBody.of(sums.total),
        "refunded": MoneyBody.of(sums.refunded),
        "lines": [
            {
                "line_number": line.line_number,
                "sku": line.sku,
                "quantity": line.quantity,
                "refunded_quantity": line.refunded_quantity,
                "total": MoneyBody.of(line.total),
            }
            for line in lines
        ],
    }
    return msgspec.json.encode({"type": event_type, "timestamp": change.changed_at, "data": data})

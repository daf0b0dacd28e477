"""What orders tells the world, as Protobuf in the outbox."""

from datetime import datetime
from typing import Final
from uuid import UUID

from services.orders.domain.order import Order
from services.runtime.clock import to_micros
from services.runtime.ids import new_id
from services.runtime.outbox import OutboxEvent
from services.runtime.tracing import current_traceparent
from tradeflow.common.v1.money_pb2 import Money as MoneyMessage
from tradeflow.common.v1.wallet_pb2 import Allocation as AllocationMessage
from tradeflow.events.v1.order_event_pb2 import OrderConfirmed, OrderEvent

ORDER_EVENTS_TOPIC: Final = "order-events"
"""Keyed by order id: events of one order stay in their order."""

ORDERS_STREAM: Final = "orders"
"""The outbox stream that numbers them."""

CAPTURE_NUMBER: Final = 1
"""An order is captured once, in whole."""


class BufferedEvents:
    """Fits `Events`: keeps what happened until the end of the transaction, where it is numbered and written.

    Numbering locks the stream's row, so it comes last, and the lock is held for one statement only.
    """

    def __init__(self) -> None:
        """Begin with nothing to tell."""
        self.events: list[OutboxEvent] = []

    def order_confirmed(self, order: Order, now: datetime) -> None:
        """Tell the ledger to capture the order's hold."""
        event_id = new_id()
        message = order_confirmed_message(order, event_id=event_id, now=now)
        self.events.append(
            OutboxEvent(
                topic=ORDER_EVENTS_TOPIC,
                key=str(order.order_id).encode(),
                key_sequence=order.version,
                event_id=event_id,
                event_type=OrderEvent.DESCRIPTOR.full_name,
                payload=message.SerializeToString(deterministic=True),
                traceparent=current_traceparent(),
                recorded_at=now,
            )
        )


def order_confirmed_message(order: Order, *, event_id: UUID, now: datetime) -> OrderEvent:
    """Build the event: the whole order is captured at once, and each seller gets the sum of their lines."""
    message = OrderEvent(
        event_id=str(event_id),
        order_id=str(order.order_id),
        order_confirmed=OrderConfirmed(
            buyer_id=str(order.buyer_id),
            hold_id=str(order.order_id),
            capture_number=CAPTURE_NUMBER,
            amount=MoneyMessage(amount_minor=order.total.amount_minor, currency=order.total.currency),
            allocations=[
                AllocationMessage(
                    seller_id=str(allocation.seller_id),
                    gross_minor=allocation.gross_minor,
                    fee_basis_points=allocation.fee_basis_points,
                )
                for allocation in order.allocations()
            ],
            final=True,
        ),
    )
    message.occurred_at.FromMicroseconds(to_micros(now))
    return message

"""Orders' facts from the broker: an order that was confirmed is settled.

The messages of a batch become commands that are submitted together, and offsets follow the effects. A message that
comes again finds its key taken: the key is the inbox. A capture that is refused has an outcome, told to the buyer's
wallet as SettlementRefused; only a message that can't be read, or that asks for something else under a used key, is
poison, which the consumer loop parks in the dead letters.
"""

from collections.abc import Sequence

import structlog
from google.protobuf.message import DecodeError

from services.ledger.commands.capture_hold import CaptureFunds
from services.ledger.domain.receipt import Receipt
from services.ledger.inbound import fields
from services.ledger.inbound.authorisation import ORDERS
from services.ledger.inbound.command_messages import allocations_of
from services.ledger.ports import Submitter
from services.runtime.broker.port import ReceivedMessage
from services.runtime.errors import InvalidArgumentError, KeyReusedError, RejectedError, TradeFlowError
from services.runtime.registry.wire_format import payload_of
from tradeflow.events.v1 import order_event_pb2

logger = structlog.get_logger(__name__)

ORDER_EVENTS = "order-events"
"""The topic."""

GROUP = "ledger"
"""Whose offsets they are."""

CONSUMER_NAME = f"{GROUP}:{ORDER_EVENTS}"
"""Whose dead letters they are."""

UNREADABLE = "order_event_unreadable"
"""The reason of bytes that are no OrderEvent."""


class OrderEventsHandler:
    """Settles what orders confirmed."""

    def __init__(self, committer: Submitter) -> None:
        """Write through the committer."""
        self._committer = committer

    async def handle(self, messages: Sequence[ReceivedMessage]) -> None:
        """Take all effects of a batch; it may be handed in again, whole or in parts.

        Raises:
            UnavailableError: Some commands may have taken effect and some not; hand the batch in again.
            RejectedError: A message is poison; hand them in one by one.
        """
        read = [capture_of(message) for message in messages]
        captures = [capture for capture in read if capture is not None]
        outcomes = await self._committer.submit_many(captures)
        for capture, outcome in zip(captures, outcomes, strict=True):
            _check_outcome(capture, outcome)


def capture_of(message: ReceivedMessage) -> CaptureFunds | None:
    """Make a command of one message, or None of a fact that doesn't concern the ledger.

    The hold is of the orders service, so its capture is too, whichever way it comes.

    Raises:
        InvalidArgumentError: The message can never be handled.
    """
    event = _parse(message.value)
    order_id = fields.id_of(event.order_id, "order_id")
    if event.WhichOneof("fact") != "order_confirmed":
        return None
    fact = event.order_confirmed
    return CaptureFunds(
        service=ORDERS,
        idempotency_key=f"order:{order_id}:capture:{fact.capture_number}",
        hold_id=fields.id_of(fact.hold_id, "hold_id"),
        wallet_id=fields.id_of(fact.buyer_id, "buyer_id"),
        capture_number=fact.capture_number,
        amount=fields.positive_money(fact.amount.amount_minor, fact.amount.currency),
        allocations=allocations_of(fact.allocations),
        final=fact.final,
        report_refusal=True,
        traceparent=message.headers.get("traceparent", ""),
    )


def _parse(value: bytes) -> order_event_pb2.OrderEvent:
    try:
        return order_event_pb2.OrderEvent.FromString(payload_of(value))
    except DecodeError as error:
        raise InvalidArgumentError("The message is no OrderEvent.", reason=UNREADABLE) from error


def _check_outcome(capture: CaptureFunds, outcome: Receipt | TradeFlowError) -> None:
    if isinstance(outcome, Receipt):
        return
    if not isinstance(outcome, RejectedError) or isinstance(outcome, KeyReusedError):
        raise outcome
    logger.warning("settlement_refused", hold_id=str(capture.hold_id), reason=outcome.reason)

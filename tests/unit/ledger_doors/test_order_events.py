"""What becomes of orders' facts, batch by batch."""

from uuid import UUID, uuid4

import pytest

from services.ledger.commands.capture_hold import CaptureFunds
from services.ledger.commands.command import Command
from services.ledger.domain.refusals import HoldClosedError
from services.ledger.inbound.order_events import OrderEventsHandler, capture_of
from services.money import Money
from services.runtime.broker.port import ReceivedMessage
from services.runtime.errors import InvalidArgumentError, KeyReusedError, TradeFlowError, UnavailableError
from tests.support.ledger_commands import BUYER, OTHER_SELLER, SELLER
from tests.support.recording_committer import RecordingCommitter
from tradeflow.common.v1.money_pb2 import Money as MoneyMessage
from tradeflow.common.v1.wallet_pb2 import Allocation
from tradeflow.events.v1.order_event_pb2 import OrderConfirmed, OrderEvent


def confirmed(
    order_id: UUID | None = None, *, currency: str = "EUR", sellers: tuple[UUID, ...] = (SELLER,)
) -> OrderEvent:
    hold_id = str(order_id or uuid4())
    return OrderEvent(
        event_id=str(uuid4()),
        order_id=hold_id,
        order_confirmed=OrderConfirmed(
            buyer_id=str(BUYER),
            hold_id=hold_id,
            capture_number=2,
            amount=MoneyMessage(amount_minor=10 * len(sellers), currency=currency),
            allocations=[Allocation(seller_id=str(seller), gross_minor=10, fee_basis_points=250) for seller in sellers],
            final=True,
        ),
    )


def received(event: OrderEvent | bytes, **headers: str) -> ReceivedMessage:
    value = event if isinstance(event, bytes) else event.SerializeToString()
    return ReceivedMessage(topic="order-events", key=b"key", value=value, headers=headers, partition=0, offset=7)


def test_a_confirmed_order_becomes_a_capture_under_a_key_of_its_own() -> None:
    order_id = uuid4()

    capture = capture_of(received(confirmed(order_id, sellers=(SELLER, OTHER_SELLER)), traceparent="trace"))

    assert capture is not None
    assert capture.idempotency_key == f"order:{order_id}:capture:2"
    assert (capture.service, capture.traceparent, capture.report_refusal) == ("orders", "trace", True)
    assert (capture.hold_id, capture.wallet_id, capture.capture_number) == (order_id, BUYER, 2)
    assert (capture.amount, capture.final) == (Money(20, "EUR"), True)
    assert [allocation.seller_id for allocation in capture.allocations] == [SELLER, OTHER_SELLER]


def test_a_fact_that_is_not_the_ledgers_becomes_nothing() -> None:
    assert capture_of(received(OrderEvent(order_id=str(uuid4())))) is None


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"\xff\xff", "order_event_unreadable"),
        (b"", "id_malformed"),
        (confirmed(currency="XXX"), "unknown_asset"),
        (confirmed(sellers=(SELLER, SELLER)), "sellers_malformed"),
    ],
)
def test_what_can_never_be_handled_says_why(event: OrderEvent | bytes, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        capture_of(received(event))

    assert refusal.value.reason == reason


async def test_a_batch_is_submitted_at_once_in_its_order() -> None:
    committer = RecordingCommitter()
    orders = [uuid4() for _ in range(3)]
    other = received(OrderEvent(order_id=str(uuid4())))

    await OrderEventsHandler(committer).handle(
        [received(confirmed(orders[0])), other, *map(received, map(confirmed, orders[1:]))]
    )

    (batch,) = committer.batches
    assert [capture.hold_id for capture in batch if isinstance(capture, CaptureFunds)] == orders


async def test_nothing_is_submitted_when_one_message_can_not_be_read() -> None:
    committer = RecordingCommitter()

    with pytest.raises(InvalidArgumentError):
        await OrderEventsHandler(committer).handle([received(confirmed()), received(b"\xff\xff")])

    assert committer.batches == []


async def test_a_refused_capture_is_handled() -> None:
    def refuse(_command: Command) -> TradeFlowError:
        return HoldClosedError("It has ended.")

    await OrderEventsHandler(RecordingCommitter(refuse)).handle([received(confirmed())])


@pytest.mark.parametrize(
    "failure",
    [
        UnavailableError("The ledger is busy."),
        KeyReusedError("Other content."),
        TradeFlowError("The ledger failed.", reason="internal"),
    ],
    ids=lambda failure: failure.reason,
)
async def test_what_has_no_outcome_comes_again(failure: TradeFlowError) -> None:
    def fail(_command: Command) -> TradeFlowError:
        return failure

    with pytest.raises(type(failure)):
        await OrderEventsHandler(RecordingCommitter(fail)).handle([received(confirmed())])

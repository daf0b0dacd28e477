"""Orders' facts in, wallets' facts out: through a real broker."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from services.runtime.broker.opening import open_broker
from services.runtime.broker.port import Broker, Message, ReceivedMessage
from services.runtime.consumer_loop import LoopSettings
from tests.support.clock import VirtualClock
from tests.support.ledger import LedgerWorld, a_reserve, a_void, eur, ledger_world
from tests.support.waiting import eventually
from tradeflow.common.v1.wallet_pb2 import HOLD_STATE_CAPTURED, HOLD_STATE_EXPIRED, Allocation
from tradeflow.events.v1.order_event_pb2 import OrderConfirmed, OrderEvent
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent
from tradeflow.ledger.v1 import ledger_service_pb2 as messages

BUYER, SELLER = uuid4(), uuid4()
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        await running.deposit(BUYER, 1_000)
        yield running


@pytest.fixture
async def broker(world: LedgerWorld) -> AsyncIterator[Broker]:
    """Another process's way to the log."""
    broker = open_broker(world.settings.broker_url)
    yield broker
    await broker.close()


def confirmed(hold_id: UUID, gross_minor: int, *, number: int = 1, buyer: UUID = BUYER) -> Message:
    event = OrderEvent(
        event_id=str(uuid4()),
        order_id=str(hold_id),
        order_confirmed=OrderConfirmed(
            buyer_id=str(buyer),
            hold_id=str(hold_id),
            capture_number=number,
            amount=eur(gross_minor),
            allocations=[Allocation(seller_id=str(SELLER), gross_minor=gross_minor, fee_basis_points=250)],
            final=True,
        ),
    )
    return Message(
        topic="order-events",
        key=str(hold_id).encode(),
        value=event.SerializeToString(),
        headers={"event-type": "tradeflow.events.v1.OrderEvent", "traceparent": TRACEPARENT},
    )


async def events_of(broker: Broker, count: int) -> list[tuple[ReceivedMessage, WalletEvent]]:
    """Read the first wallet events that the ledger published."""
    consumer = broker.group_consumer(group=f"test-{uuid4()}", topics=["wallet-events"])
    received: list[ReceivedMessage] = []

    async def enough() -> bool:
        received.extend(await consumer.poll(messages_max=100, timeout_seconds=0.2))
        return len(received) >= count

    await eventually(enough)
    await consumer.close()
    return [(message, WalletEvent.FromString(message.value)) for message in received]


async def kinds(world: LedgerWorld, wallet_id: UUID) -> list[str]:
    request = messages.ListWalletEventsRequest(wallet_id=str(wallet_id))
    answer = await world.stub.ListWalletEvents(request, metadata=world.orders())
    return [str(event.WhichOneof("fact")) for event in answer.events]


async def wait_for(world: LedgerWorld, wallet_id: UUID, kind: str, count: int = 1) -> None:
    async def happened() -> bool:
        return (await kinds(world, wallet_id)).count(kind) >= count

    await eventually(happened)


async def test_a_confirmed_order_is_settled_and_both_wallets_hear_of_it(world: LedgerWorld, broker: Broker) -> None:
    hold_id = await world.reserve(BUYER, 400, commit=True)

    await broker.producer().publish([confirmed(hold_id, 400)])
    heard = await events_of(broker, 6)

    assert [(event.wallet_id, event.sequence, event.WhichOneof("fact")) for _, event in heard] == [
        (str(BUYER), 1, "account_opened"),
        (str(BUYER), 2, "funds_deposited"),
        (str(BUYER), 3, "funds_reserved"),
        (str(SELLER), 1, "account_opened"),
        (str(BUYER), 4, "funds_captured"),
        (str(SELLER), 2, "sale_credited"),
    ]
    message, captured = heard[4]
    assert message.key == str(BUYER).encode()
    assert message.headers["event-id"] == captured.event_id
    assert message.headers["event-type"] == "tradeflow.events.v1.WalletEvent"
    assert message.headers["traceparent"] == TRACEPARENT
    assert captured.funds_captured.hold.state == HOLD_STATE_CAPTURED
    assert captured.balance.posted_minor == 600
    assert heard[5][1].sale_credited.net.amount_minor == 390


async def test_a_ledger_whose_consumer_stands_still_over_its_dead_letters_goes_on_serving(
    world: LedgerWorld, broker: Broker
) -> None:
    too_many = LoopSettings().dead_letters_max + 1
    malformed = [Message(topic="order-events", key=str(number).encode(), value=b"\xff") for number in range(too_many)]

    async def stands_still() -> bool:
        return bool((await world.http.get("/readyz")).json()["hints"]["order-events"] != "ok")

    with capture_logs():  # a hundred tracebacks take longer to write than all else
        await broker.producer().publish(malformed)
        await eventually(stands_still, seconds_max=60)

    assert (await world.http.get("/readyz")).status_code == 200
    assert 'tradeflow_consumer_healthy{consumer="ledger:order-events"} 0.0' in (await world.http.get("/metrics")).text
    assert (await world.balance(BUYER)).posted_minor == 1_000


async def test_an_event_that_comes_again_takes_effect_once(world: LedgerWorld, broker: Broker) -> None:
    hold_id, other = await world.reserve(BUYER, 400, commit=True), await world.reserve(BUYER, 1, commit=True)

    await broker.producer().publish([confirmed(hold_id, 400), confirmed(hold_id, 400), confirmed(other, 1)])
    await wait_for(world, BUYER, "funds_captured", 2)

    assert (await kinds(world, SELLER)).count("sale_credited") == 2
    assert (await world.balance(SELLER)).posted_minor == 390 + 1
    assert (await world.verify()).problems == ()


async def test_a_capture_that_is_refused_is_an_outcome_and_no_dead_letter(world: LedgerWorld, broker: Broker) -> None:
    never_held, voided, fine = uuid4(), await world.reserve(BUYER, 5), await world.reserve(BUYER, 7, commit=True)
    await world.stub.VoidHold(messages.VoidHoldRequest(command=a_void(BUYER, voided)), metadata=world.orders())

    await broker.producer().publish([confirmed(never_held, 3), confirmed(voided, 5), confirmed(fine, 7)])
    await wait_for(world, BUYER, "funds_captured")

    request = messages.ListWalletEventsRequest(wallet_id=str(BUYER))
    events = (await world.stub.ListWalletEvents(request, metadata=world.orders())).events
    refusals = [event.settlement_refused for event in events if event.HasField("settlement_refused")]
    assert [(refusal.hold_id, refusal.reason) for refusal in refusals] == [
        (str(never_held), "hold_not_found"),
        (str(voided), "hold_closed"),
    ]
    assert await dead_letters(broker) == []


async def test_a_message_that_can_not_be_read_goes_to_the_dead_letters_and_others_go_on(
    world: LedgerWorld, broker: Broker
) -> None:
    hold_id = await world.reserve(BUYER, 10, commit=True)
    garbage = Message(topic="order-events", key=b"a", value=b"\xff\xff")
    nobody = Message(topic="order-events", key=b"b", value=OrderEvent(order_id="nobody").SerializeToString())
    no_sellers = confirmed(uuid4(), 10)
    event = OrderEvent.FromString(no_sellers.value)
    event.order_confirmed.ClearField("allocations")
    no_sellers = Message(topic="order-events", key=no_sellers.key, value=event.SerializeToString())

    await broker.producer().publish([garbage, nobody, no_sellers, confirmed(hold_id, 10)])
    await wait_for(world, BUYER, "funds_captured")

    letters = await dead_letters(broker)
    assert [letter.headers["dlq-reason"] for letter in letters] == [
        "order_event_unreadable",
        "id_malformed",
        "sellers_malformed",
    ]
    assert (await world.http.get("/readyz")).status_code == 200


async def test_a_used_key_with_another_content_goes_to_the_dead_letters(world: LedgerWorld, broker: Broker) -> None:
    hold_id = await world.reserve(BUYER, 10, commit=True)
    await broker.producer().publish([confirmed(hold_id, 4)])
    await wait_for(world, BUYER, "funds_captured")

    await broker.producer().publish([confirmed(hold_id, 5)])

    async def parked() -> bool:
        return bool(await dead_letters(broker))

    await eventually(parked)
    assert [letter.headers["dlq-reason"] for letter in await dead_letters(broker)] == ["idempotency_key_reused"]


async def test_a_fact_that_is_not_the_ledgers_is_passed_over(world: LedgerWorld, broker: Broker) -> None:
    hold_id = await world.reserve(BUYER, 10, commit=True)
    other_fact = OrderEvent(event_id=str(uuid4()), order_id=str(uuid4()))

    await broker.producer().publish(
        [Message(topic="order-events", key=b"k", value=other_fact.SerializeToString()), confirmed(hold_id, 10)]
    )
    await wait_for(world, BUYER, "funds_captured")

    assert await dead_letters(broker) == []


async def test_orders_confirmed_while_the_ledger_was_away_are_settled_when_it_is_back(tmp_path: Path) -> None:
    async with ledger_world(tmp_path) as before:
        await before.deposit(BUYER, 100)
        hold_id = await before.reserve(BUYER, 100, commit=True)
        broker_url = before.settings.broker_url
    broker = open_broker(broker_url)
    await broker.producer().publish([confirmed(hold_id, 100)])
    await broker.close()

    async with ledger_world(tmp_path) as after:
        await wait_for(after, BUYER, "funds_captured")
        assert (await after.verify()).problems == ()


async def test_a_hold_runs_out_on_time_and_the_wallet_hears_of_it(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with ledger_world(tmp_path, clock=clock) as world:
        await world.deposit(BUYER, 100)
        early = await world.reserve(BUYER, 40, seconds=60)
        late = await world.reserve(BUYER, 50, seconds=120)
        committed = await world.reserve(BUYER, 10, seconds=60, commit=True)

        await clock.advance(59)
        before = await kinds(world, BUYER)
        await clock.advance(2)
        await wait_for(world, BUYER, "hold_expired")
        balance = await world.balance(BUYER)

        assert "hold_expired" not in before
        assert balance.available_minor == 40
        assert {await state_of(world, hold) for hold in (late, committed)} == {1, 2}
        assert await state_of(world, early) == HOLD_STATE_EXPIRED
        assert (await world.verify()).problems == ()


async def test_holds_that_fell_due_while_the_ledger_was_away_run_out_when_it_is_back(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with ledger_world(tmp_path, clock=clock) as before:
        await before.deposit(BUYER, 1_000)
        request = messages.ExecuteBatchRequest()
        for _ in range(600):  # more than one step of the loop
            command = a_reserve(BUYER, 1, hold_id=uuid4(), expires_at=before.in_seconds(60))
            request.commands.add(reserve_funds=command)
        await before.stub.ExecuteBatch(request, metadata=before.orders(BUYER))
    await clock.advance(3_600)

    async with ledger_world(tmp_path, clock=clock) as after:

        async def released() -> bool:
            return (await after.balance(BUYER)).available_minor == 1_000

        await eventually(released)
        assert (await after.verify()).problems == ()


async def state_of(world: LedgerWorld, hold_id: UUID) -> int:
    answer = await world.stub.GetHold(messages.GetHoldRequest(hold_id=str(hold_id)), metadata=world.orders())
    return answer.hold.state


async def dead_letters(broker: Broker) -> Sequence[ReceivedMessage]:
    consumer = broker.group_consumer(group=f"test-{uuid4()}", topics=["order-events.dlq"])
    received = await consumer.poll(messages_max=100, timeout_seconds=0.3)
    await consumer.close()
    return received

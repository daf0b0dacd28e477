from dataclasses import replace

import pytest

from services.orders.domain.order import SELLERS_MAX
from services.orders.inbound.wallet_events import WalletEventsDoor
from services.orders.outbound.order_events import order_confirmed_message
from services.orders.use_cases.add_product import AddProduct, add_product
from services.runtime.errors import InvalidArgumentError
from services.runtime.ids import new_id
from tests.support.crashes import Fuse, MortalStore
from tests.support.orders_world import PRICE, OrdersWorld, a_message
from tradeflow.events.v1.wallet_event_pb2 import FundsCaptured, FundsDeposited, SettlementRefused, WalletEvent

OUTBOX_PAYLOAD_BYTES_MAX = 8192


async def test_events_that_settle_nothing_cost_no_transaction(world: OrdersWorld) -> None:
    fuse = Fuse()
    door = WalletEventsDoor(store=MortalStore(world.store, fuse), clock=world.clock)

    await door.handle([a_message(WalletEvent(funds_deposited=FundsDeposited()))])

    assert fuse.passed == []


@pytest.mark.parametrize(
    "event",
    [WalletEvent(funds_captured=FundsCaptured()), WalletEvent(settlement_refused=SettlementRefused(hold_id="7"))],
    ids=["no hold", "no id"],
)
async def test_an_event_that_cannot_be_read_is_poison_and_leaves_nothing(
    world: OrdersWorld, event: WalletEvent
) -> None:
    poison = a_message(event)

    for _ in range(2):
        with pytest.raises(InvalidArgumentError):
            await world.deliver([poison])


async def test_bytes_that_are_no_event_are_poison(world: OrdersWorld) -> None:
    garbage = replace(a_message(WalletEvent()), value=b"\xff\xff\xff")

    with pytest.raises(InvalidArgumentError) as malformed:
        await world.deliver([garbage])

    assert malformed.value.reason == "malformed_event"


async def test_an_order_of_a_thousand_lines_and_a_hundred_sellers_is_placed_and_told_in_one_event(
    world: OrdersWorld,
) -> None:
    world.bank.available[world.buyer.user_id] = 10**12
    sellers = [new_id() for _ in range(SELLERS_MAX)]
    for number in range(1_000):
        product = AddProduct(
            seller_id=sellers[number % SELLERS_MAX], sku=f"sku-{number}", title="A thing", price=PRICE, stock=5
        )
        await add_product(product, store=world.store, clock=world.clock)

    answer = await world.place(lines=tuple((f"sku-{number}", 5) for number in range(1_000)))

    message = order_confirmed_message(answer.order, event_id=new_id(), now=world.clock.now())
    assert len(message.order_confirmed.allocations) == SELLERS_MAX
    assert message.ByteSize() < OUTBOX_PAYLOAD_BYTES_MAX
    assert (await world.order(answer.order.order_id)).lines == answer.order.lines
    assert await world.stock("sku-999") == 0

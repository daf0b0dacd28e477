"""Orders on a real database, a fake ledger and virtual time; events go from the outbox into the fake by hand."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from services.money import Money
from services.orders.domain.actor import Actor
from services.orders.domain.discrepancy import DiscrepancyKind
from services.orders.domain.hold import Hold, HoldState
from services.orders.domain.order import CaptureMode, Order
from services.orders.domain.order_state import OrderState
from services.orders.domain.refund import plan_refund
from services.orders.domain.terms import Terms
from services.orders.domain.user import Role
from services.orders.domain.wish import Wish
from services.orders.inbound.wallet_events import WalletEventsDoor
from services.orders.outbound.order_events import ORDERS_STREAM
from services.orders.outbound.reads import SqlReads
from services.orders.outbound.recovery_reads import SqlRecoveryReads
from services.orders.outbound.store import SqlStore
from services.orders.ports import Ledger, OrderFilter, Store
from services.orders.use_cases.add_product import AddProduct, add_product
from services.orders.use_cases.cancel_order import CancelOrder, cancel_order
from services.orders.use_cases.confirm_order import ConfirmOrder, confirm_order
from services.orders.use_cases.finish_orders import finish_orders
from services.orders.use_cases.once import Answer
from services.orders.use_cases.place_order import place_order
from services.orders.use_cases.placing import PlaceOrder, Placing, PlacingAlone
from services.orders.use_cases.reconcile_orders import Reconciled, Scope, reconcile_step
from services.orders.use_cases.refund_order import RefundOrder, refund_order
from services.runtime.broker.port import ReceivedMessage
from services.runtime.database.migrations import migrate
from services.runtime.database.port import Database
from services.runtime.database_opening import open_database
from services.runtime.ids import new_id
from tests.support.clock import VirtualClock
from tests.support.fake_ledger import FakeLedger
from tests.support.outbox import events_of
from tradeflow.common.v1 import wallet_pb2
from tradeflow.events.v1.order_event_pb2 import OrderConfirmed, OrderEvent
from tradeflow.events.v1.wallet_event_pb2 import FundsCaptured, RefundCredited, SettlementRefused, WalletEvent

TERMS = Terms(
    fee_basis_points=250,
    order_lifetime=timedelta(minutes=15),
    unheld_lifetime=timedelta(minutes=2),
    request_lease=timedelta(seconds=30),
    patience=timedelta(seconds=5),
)
EVERYTHING = Scope(name="all", window=None, pause=timedelta(seconds=1))
STOCK = 10
PRICE = Money(1_000, "EUR")
FUNDS_MINOR = 100_000
KEEPS_GOODS = frozenset(OrderState) - {
    OrderState.REJECTED,
    OrderState.CANCELLED,
    OrderState.EXPIRED,
    OrderState.SETTLEMENT_FAILED,
}
ENDED = frozenset(
    {
        OrderState.REJECTED,
        OrderState.CANCELLED,
        OrderState.EXPIRED,
        OrderState.SETTLED,
        OrderState.PARTIALLY_REFUNDED,
        OrderState.REFUNDED,
        OrderState.SETTLEMENT_FAILED,
    }
)


@dataclass(kw_only=True)
class OrdersWorld:
    """One orders service without doors. `store` and `ledger` may be replaced by mortal ones.

    Each step of an order has a transaction of its own, unless `placing` says otherwise.
    """

    database: Database
    clock: VirtualClock
    bank: FakeLedger
    real_store: SqlStore
    store: Store
    ledger: Ledger
    reads: SqlReads
    recovery: SqlRecoveryReads
    buyer: Actor
    seller: Actor
    other_seller: Actor
    operator: Actor
    placing: Placing | None = None
    first_stock: int = STOCK
    first_funds_minor: int = FUNDS_MINOR
    others_funds_minor: dict[UUID, int] = field(default_factory=dict)
    others_stock: dict[str, int] = field(default_factory=dict)
    _read_events: int = 0

    async def add_buyer(self, funds_minor: int | None) -> Actor:
        """Add a buyer with so much money, or one who never had any."""
        buyer = an_actor(Role.BUYER)
        self.others_funds_minor[buyer.user_id] = funds_minor or 0
        if funds_minor is not None:
            self.bank.available[buyer.user_id] = funds_minor
        return buyer

    async def add_product(self, sku: str, stock: int) -> None:
        """Add a product of the first seller."""
        self.others_stock[sku] = stock
        await _add(self, sku, self.seller, stock)

    async def place(
        self,
        *,
        capture: CaptureMode = CaptureMode.AUTOMATIC,
        key: str = "place",
        lines: tuple[tuple[str, int], ...] = (("tea", 2), ("cup", 1)),
        buyer: Actor | None = None,
        expected_total: Money | None = None,
    ) -> Answer:
        """Place an order of 2 tea (tracked) and 1 cup (untracked, another seller's)."""
        wanted = PlaceOrder(
            buyer_id=(buyer or self.buyer).user_id,
            buyer_token="the buyer's token",
            idempotency_key=key,
            wishes=tuple(Wish(sku=sku, quantity=quantity) for sku, quantity in lines),
            capture=capture,
            expected_total=expected_total,
        )
        placing = self.placing or PlacingAlone(store=self.store, clock=self.clock, terms=TERMS)
        return await place_order(wanted, placing=placing, store=self.store, ledger=self.ledger, clock=self.clock)

    async def confirm(self, order_id: UUID, *, key: str = "confirm", actor: Actor | None = None) -> Answer:
        """Confirm as the buyer."""
        wanted = ConfirmOrder(actor=actor or self.buyer, order_id=order_id, idempotency_key=key)
        return await confirm_order(wanted, store=self.store, ledger=self.ledger, clock=self.clock, terms=TERMS)

    async def cancel(self, order_id: UUID, *, key: str = "cancel", actor: Actor | None = None) -> Answer:
        """Cancel as the buyer."""
        wanted = CancelOrder(actor=actor or self.buyer, order_id=order_id, idempotency_key=key)
        return await cancel_order(wanted, store=self.store, ledger=self.ledger, clock=self.clock, terms=TERMS)

    async def refund(
        self,
        order_id: UUID,
        *,
        lines: tuple[tuple[int, int], ...] | None = None,
        line_amounts: tuple[tuple[int, Money], ...] = (),
        key: str = "refund",
        actor: Actor | None = None,
    ) -> Answer:
        """Refund as the operator."""
        wanted = RefundOrder(
            actor=actor or self.operator,
            order_id=order_id,
            idempotency_key=key,
            lines=lines,
            line_amounts=line_amounts,
        )
        return await refund_order(wanted, store=self.store, ledger=self.ledger, clock=self.clock, terms=TERMS)

    async def forgotten_refund(self, order_id: UUID, quantities: dict[int, int]) -> Hold:
        """Give pieces back as an order does whose database is then restored from a copy of before."""
        order = await self.order(order_id)
        refund = plan_refund(
            order, quantities, refund_id=new_id(), requested_by=self.operator.user_id, now=self.clock.now()
        )
        return await self.bank.refund_capture(order, refund)

    async def finish(self, *, after_seconds: float = 10, passes: int = 1, orders_at_once: int = 1) -> None:
        """Let time pass and the reconciler look."""
        for _ in range(passes):
            await self.clock.advance(after_seconds)
            await finish_orders(
                store=self.store, ledger=self.ledger, clock=self.clock, terms=TERMS, orders_at_once=orders_at_once
            )

    async def reconcile(self, *, after_seconds: float = 11) -> list[Reconciled]:
        """Let time pass and compare all orders with the ledger, in a whole round."""
        await self.clock.advance(after_seconds)
        steps: list[Reconciled] = []
        while step := await reconcile_step(EVERYTHING, store=self.store, ledger=self.ledger, clock=self.clock):
            steps.append(step)
        return steps

    async def found(self, *, after_seconds: float = 11) -> list[DiscrepancyKind]:
        """Compare all orders with the ledger, and tell what was found."""
        return [one.kind for step in await self.reconcile(after_seconds=after_seconds) for one in step.found]

    async def settle(self) -> None:
        """Do what the relay, the ledger and the consumer do: capture what was confirmed and tell orders."""
        await self.deliver(await self.capture())

    async def capture(self) -> list[ReceivedMessage]:
        """Let the ledger read what was confirmed since the last time, and return its wallet events."""
        return [self._captured(event) for event in await self.confirmed_events()]

    async def deliver(self, messages: list[ReceivedMessage]) -> None:
        """Hand wallet events to orders."""
        await WalletEventsDoor(store=self.store, clock=self.clock).handle(messages)

    async def confirmed_events(self) -> list[OrderConfirmed]:
        """Read the outbox from where it was last read."""
        events = [each for each in await events_of(self.database, ORDERS_STREAM) if each[0] > self._read_events]
        self._read_events = events[-1][0] if events else self._read_events
        return [OrderEvent.FromString(event.payload).order_confirmed for _, event in events]

    def _captured(self, event: OrderConfirmed) -> ReceivedMessage:
        gross = {UUID(allocation.seller_id): allocation.gross_minor for allocation in event.allocations}
        hold = self.bank.capture(UUID(event.hold_id), event.amount.amount_minor, gross)
        return settlement_refused(UUID(event.hold_id)) if hold is None else funds_captured(hold)

    async def order(self, order_id: UUID) -> Order:
        """Read an order."""
        order = await self.reads.order(order_id)
        assert order is not None
        return order

    async def all_orders(self) -> list[Order]:
        """Read the buyer's orders."""
        return await self.orders_of(self.buyer)

    async def orders_of(self, *buyers: Actor) -> list[Order]:
        """Read the orders of some buyers."""
        filters = [OrderFilter(buyer_id=buyer.user_id, orders_max=200) for buyer in buyers]
        return [order for each in filters for order in (await self.reads.orders(each)).items]

    async def stock(self, sku: str = "tea") -> int | None:
        """Read what is left of a product."""
        product = await self.reads.product(sku)
        assert product is not None
        return product.stock

    async def history(self, order_id: UUID) -> list[str]:
        """Read the states that an order went through."""
        async with self.database.snapshot() as connection:
            rows = await connection.fetch(
                "SELECT state FROM order_history WHERE order_id = $1 ORDER BY version", order_id
            )
        return [row[0] for row in rows]

    async def assert_agreed(self, *, of: Sequence[Actor] = (), skus: Sequence[str] = ("tea",)) -> None:
        """Check that orders, stock and ledger tell the same story, and that nothing is left in the middle.

        Args:
            of: The buyers that are looked at; the first one if none is named.
            skus: The counted products that nobody else bought.
        """
        buyers = of or [self.buyer]
        orders = await self.orders_of(*buyers)
        for order in orders:
            await self._assert_order_agrees(order)
        kept = [order for order in orders if order.state in KEEPS_GOODS]
        sold = sum((Counter(order.stock_set_aside()) for order in kept), Counter[str]())
        stock = {**self.others_stock, "tea": self.first_stock}
        for sku in skus:
            assert await self.stock(sku) == stock[sku] - sold[sku], sku
        funds_minor = {**self.others_funds_minor, self.buyer.user_id: self.first_funds_minor}
        for buyer in buyers:
            own = [order for order in orders if order.buyer_id == buyer.user_id]
            spent = sum(order.captured.amount_minor - order.refunded.amount_minor for order in own)
            assert self.bank.available.get(buyer.user_id, 0) == funds_minor[buyer.user_id] - spent

    async def _assert_order_agrees(self, order: Order) -> None:
        assert order.state in ENDED, order.state
        hold = self.bank.holds.get(order.order_id)
        captured, refunded = (hold.captured_minor, hold.refunded_minor) if hold else (0, 0)
        assert hold is None or hold.remaining_minor == 0
        assert (order.captured.amount_minor, order.refunded.amount_minor) == (captured, refunded)
        assert (order.state is OrderState.REFUNDED) == (0 < captured == refunded)
        history = await self.history(order.order_id)
        assert len(history) == order.version
        assert history[-1] == order.state.value


@asynccontextmanager
async def orders_world(
    where: Path | str, *, stock: int = STOCK, funds_minor: int = FUNDS_MINOR
) -> AsyncIterator[OrdersWorld]:
    """Make a world with a rich buyer, two sellers, and two products, in a folder or on the database of a URL."""
    database = open_database(where if isinstance(where, str) else f"sqlite:///{where}/orders.db")
    await migrate(database, "services.orders.migrations")
    clock = VirtualClock()
    bank = FakeLedger(clock)
    store = SqlStore(database, clock=clock, patience=TERMS.patience)
    world = OrdersWorld(
        database=database,
        clock=clock,
        bank=bank,
        real_store=store,
        store=store,
        ledger=bank,
        reads=SqlReads(database),
        recovery=SqlRecoveryReads(database),
        buyer=an_actor(Role.BUYER),
        seller=an_actor(Role.MERCHANT),
        other_seller=an_actor(Role.MERCHANT),
        operator=an_actor(Role.OPERATOR),
        first_stock=stock,
        first_funds_minor=funds_minor,
    )
    bank.available[world.buyer.user_id] = funds_minor
    await _add(world, "tea", world.seller, stock)
    await _add(world, "cup", world.other_seller, None)
    try:
        yield world
    finally:
        await database.close()


def an_actor(*roles: Role) -> Actor:
    """Make somebody with these roles."""
    return Actor(user_id=new_id(), roles=frozenset(roles))


def funds_captured(hold: Hold) -> ReceivedMessage:
    """Make the ledger's event after a capture."""
    captured = FundsCaptured(hold=_hold_message(hold), capture_number=1)
    return a_message(WalletEvent(funds_captured=captured, journal_sequence=hold.journal_sequence))


def refund_credited(hold: Hold) -> ReceivedMessage:
    """Make the ledger's event after a refund, or the reversal of a capture."""
    credited = RefundCredited(hold=_hold_message(hold), capture_number=1)
    return a_message(WalletEvent(refund_credited=credited, journal_sequence=hold.journal_sequence))


def settlement_refused(hold_id: UUID) -> ReceivedMessage:
    """Make the ledger's event after a capture that it refused."""
    refused = SettlementRefused(hold_id=str(hold_id), capture_number=1, reason="hold_closed", message="It is closed.")
    return a_message(WalletEvent(settlement_refused=refused))


def a_message(event: WalletEvent) -> ReceivedMessage:
    """Put an event into a message."""
    event_id = str(new_id())
    event.event_id = event_id
    return ReceivedMessage(
        topic="wallet-events",
        key=b"wallet",
        value=event.SerializeToString(),
        headers={"event-id": event_id},
        partition=0,
        offset=1,
    )


def _hold_message(hold: Hold) -> wallet_pb2.Hold:
    return wallet_pb2.Hold(
        hold_id=str(hold.hold_id),
        wallet_id=str(hold.wallet_id),
        currency=hold.currency,
        state=_HOLD_STATES[hold.state],
        held_minor=hold.held_minor,
        captured_minor=hold.captured_minor,
        voided_minor=hold.voided_minor,
        remaining_minor=hold.remaining_minor,
        refunded_minor=hold.refunded_minor,
    )


_HOLD_STATES = {
    HoldState.COMMITTED: wallet_pb2.HOLD_STATE_COMMITTED,
    HoldState.CAPTURED: wallet_pb2.HOLD_STATE_CAPTURED,
}


async def _add(world: OrdersWorld, sku: str, seller: Actor, stock: int | None) -> None:
    wanted = AddProduct(seller_id=seller.user_id, sku=sku, title=sku.title(), price=PRICE, stock=stock)
    await add_product(wanted, store=world.store, clock=world.clock)

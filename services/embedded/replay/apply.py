"""A plan on a platform: sign in, offer the products, serve the customers, wait until nothing is under way."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.embedded.client import TradeFlowClient
from services.embedded.public_api import Order, Rejection
from services.embedded.replay.customers import Run, serve_customer
from services.embedded.replay.memory import Memory
from services.embedded.replay.orders import OrderKey
from services.embedded.replay.plan import CustomerPlan, Plan, by_customer
from services.embedded.replay.progress import Meter
from services.embedded.replay.returns import RefundKey
from services.embedded.replay.shop import FINAL_STATES, Credentials, Shop, for_each, offer_products


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who acts for the shop."""

    retailer: Credentials
    treasury: Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A platform that runs, and who acts there."""

    visitor: TradeFlowClient
    """Signed out; everybody else's client is made from it."""
    accounts: Accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What the platform made of a plan."""

    orders: dict[OrderKey, Order | Rejection]
    """Each order of the plan: as it is in the end, or why it was refused."""
    refunds_refused: dict[RefundKey, Rejection]
    orders_remembered: int
    """Those that an earlier run had placed."""
    seconds_by_phase: dict[str, float]


@dataclass(slots=True)
class _Stopwatch:
    """Measures one phase after the other."""

    seconds_by_phase: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def lap(self, phase: str) -> None:
        """End a phase."""
        now = time.monotonic()
        self.seconds_by_phase[phase] = round(now - self._started, 3)
        self._started = now


async def apply_plan(
    plan: Plan,
    *,
    access: Access,
    secret: bytes,
    memory: Memory,
    concurrency: int,
    meter: Meter,
) -> Applied:
    """Make the platform do all that the plan says; done twice it is done once.

    Args:
        plan: What to do.
        access: The platform, the retailer who sells, and the treasury that brings the customers' money.
        secret: What the customers' passwords are derived from.
        memory: What earlier runs of the same plan left; only a cache.
        concurrency: How many customers are served at once.
        meter: Is told how far it is.

    Raises:
        UnavailableError: The platform doesn't answer, or left an order in the middle.
        ReplayFailedError: The platform isn't what an earlier run made of it.
    """
    stopwatch = _Stopwatch()
    shop = await _open_shop(access, plan.currency)
    stopwatch.lap("sign_in")
    await offer_products(shop, plan.products, concurrency=concurrency, meter=meter)
    stopwatch.lap("products")
    known = {order.order_id: order async for order in shop.orders()} if memory.orders else {}
    customers = by_customer(plan)
    meter.begin("orders", sum(len(customer.steps) for customer in customers))
    run = Run(
        run_id=plan.run_id,
        shop=shop,
        visitor=access.visitor,
        secret=secret,
        memory=memory,
        known_orders=known,
        orders={},
        refunds_refused={},
        step_done=meter.advance,
    )
    await for_each(customers, _server(run), concurrency=concurrency)
    stopwatch.lap("orders")
    orders = await _when_all_is_final(run, concurrency=concurrency, meter=meter)
    stopwatch.lap("settlement")
    return Applied(
        orders=orders,
        refunds_refused=run.refunds_refused,
        orders_remembered=sum(order_id in known for order_id in run.orders.values()),
        seconds_by_phase=stopwatch.seconds_by_phase,
    )


async def _open_shop(access: Access, currency: str) -> Shop:
    accounts, retailer, treasury = access.accounts, access.visitor.another(), access.visitor.another()
    await retailer.login(accounts.retailer.email, accounts.retailer.password)
    await treasury.login(accounts.treasury.email, accounts.treasury.password)
    # A wallet has its owner's id, and the API tells a user no other way who they are.
    retailer_id = (await retailer.balance(currency)).wallet_id
    return Shop(retailer=retailer, retailer_id=retailer_id, treasury=treasury)


def _server(run: Run) -> Callable[[CustomerPlan], Awaitable[None]]:
    async def serve(customer: CustomerPlan) -> None:
        await serve_customer(customer, run)

    return serve


async def _when_all_is_final(run: Run, *, concurrency: int, meter: Meter) -> dict[OrderKey, Order | Rejection]:
    """Read every order of the run from the platform, each after its last change."""
    meter.begin("settlement", len(run.orders))
    listed = {order.order_id: order async for order in run.shop.orders()}
    final: dict[OrderKey, Order | Rejection] = {}

    async def wait_for(key: OrderKey) -> None:
        placed = run.orders[key]
        if isinstance(placed, Rejection):
            final[key] = placed
        else:
            order = listed.get(placed)
            final[key] = order if order and order.state in FINAL_STATES else await run.shop.order_when_final(placed)
        meter.advance()

    await for_each(list(run.orders), wait_for, concurrency=concurrency)
    return final

"""Buyers who order, confirm, cancel, get refunds, and ask again under the same key until they are answered.

What they were told is kept: afterwards each call is made once more and must get the same answer, and the shop must have
done what they were told and nothing else.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import httpx

from services.embedded.client import TradeFlowClient
from services.embedded.public_api import Order
from services.embedded.retrying import retrying
from services.runtime.errors import ConflictError, KeyReusedError, RefusedError, TradeFlowError, UnavailableError
from services.runtime.ids import new_id
from tests.support.public_load import FINAL_STATES, all_orders
from tests.support.public_shop import PASSWORD, Person, PublicShop, until

FUNDS_MINOR = 1_000_000
"""More than anybody spends."""

PRICE_MINOR = 100
"""Of a piece."""

STOCK = 100_000
"""More than anybody buys."""

ANSWER_SECONDS_MAX = 3.0
"""Then a buyer hangs up and asks again."""

AGAIN_SECONDS = 0.2
"""Before asking again."""

THINKING_SECONDS_MAX = 0.4
"""Between two orders of a buyer."""

PAID = frozenset({"SETTLED", "PARTIALLY_REFUNDED", "REFUNDED"})
"""The sellers got the money, whatever became of it later."""

PIECES_MAX = 3
"""Of an order."""

MANUAL_SHARE = 0.3
"""Orders that wait to be confirmed."""

CANCELLED_SHARE = 0.2
"""Orders that are called off right after they were placed."""

REFUNDED_SHARE = 0.2
"""Rounds in which the seller gives back a piece of an earlier order."""

REPEATED_SHARE = 0.2
"""Rounds in which a call that was answered is made again."""

Ask = Callable[[], Awaitable[Order]]


@dataclass(frozen=True, slots=True)
class Told:
    """A call and its answer: the order, or why there is none."""

    what: str
    ask: Ask
    order_id: UUID | None
    refusal: str = ""
    state: str = ""


@dataclass
class PersistentBuyers:
    """Some buyers of one seller's only product."""

    shop: PublicShop
    seller: Person
    buyers: Sequence[Person]
    sku: str
    http: httpx.AsyncClient
    seed: int
    told: list[Told] = field(default_factory=list)
    attempts_failed: Counter[str] = field(default_factory=Counter)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Let everybody buy until `close`; whoever waits for an answer then gets it first."""
        async with asyncio.TaskGroup() as group:
            for number, buyer in enumerate(self.buyers):
                chance = Random(f"buyers/{self.seed}/{number}")  # noqa: S311 - chance that can be repeated
                group.create_task(self._buy(buyer, chance))

    def close(self) -> None:
        """Let nobody begin anything new."""
        self._closing.set()

    async def until_told(self, answers: int) -> None:
        """Wait until so many calls were answered."""

        async def count() -> int:
            return len(self.told)

        await until(count, lambda seen: seen >= answers, f"{answers} answers", seconds_max=60)

    async def ask_all_again(self) -> list[str]:
        """Make each call once more, and name those that got another answer."""
        at_once = asyncio.Semaphore(len(self.buyers))

        async def ask_again(told: Told) -> Told:
            async with at_once:
                return await self._answer(told.what, told.ask)

        answers = await asyncio.gather(*(ask_again(told) for told in self.told))
        return [
            f"{told.what}: first {told}, then {again}"
            for told, again in zip(self.told, answers, strict=True)
            if (again.order_id, again.refusal) != (told.order_id, told.refusal)
        ]

    async def _buy(self, buyer: Person, chance: Random) -> None:
        while not self._closing.is_set():
            told = await self._place(buyer, chance)
            if told.order_id is not None:
                await self._change_mind(buyer, told.order_id, chance)
            if chance.random() < REFUNDED_SHARE:
                await self._refund(chance)
            if chance.random() < REPEATED_SHARE:
                await self._repeat(chance)
            await asyncio.sleep(chance.uniform(0, THINKING_SECONDS_MAX))

    async def _place(self, buyer: Person, chance: Random) -> Told:
        pieces, key = chance.randint(1, PIECES_MAX), str(new_id())
        capture = "manual" if chance.random() < MANUAL_SHARE else "automatic"
        return await self._tell(
            f"place {capture}",
            lambda: buyer.client.place_order({self.sku: pieces}, capture=capture, idempotency_key=key),
        )

    async def _change_mind(self, buyer: Person, order_id: UUID, chance: Random) -> None:
        """Cancel, or confirm what is waiting for it; who confirms an order that needs it not is told so."""
        key = str(new_id())
        if chance.random() < CANCELLED_SHARE:
            await self._tell("cancel", lambda: buyer.client.cancel(order_id, idempotency_key=key))
        elif chance.random() < MANUAL_SHARE:
            await self._tell("confirm", lambda: buyer.client.confirm(order_id, idempotency_key=key))

    async def _refund(self, chance: Random) -> None:
        order_id, key = chance.choice(self.told).order_id, str(new_id())
        if order_id is not None:
            refund = self.seller.client.refund
            await self._tell("refund", lambda: refund(order_id, {1: 1}, idempotency_key=key))

    async def _repeat(self, chance: Random) -> None:
        earlier = chance.choice(self.told)
        again = await self._answer(earlier.what, earlier.ask)
        assert (again.order_id, again.refusal) == (earlier.order_id, earlier.refusal), (earlier, again)

    async def _tell(self, what: str, ask: Ask) -> Told:
        told = await self._answer(what, ask)
        self.told.append(told)
        return told

    async def _answer(self, what: str, ask: Ask) -> Told:
        """Ask until there is an answer that stays."""
        while True:
            try:
                order = await ask()
            except RefusedError as refusal:
                return Told(what, ask, _order_of(refusal), refusal.reason)
            except TradeFlowError as error:
                if not _may_pass(error):
                    raise
                self.attempts_failed[f"{what}: {error.reason}"] += 1
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return Told(what, ask, order.order_id, state=order.state)

    async def ended(self, buyer: Person, *, seconds_max: float) -> list[Order]:
        """Wait until none of a buyer's orders is in the middle, and return all."""

        async def look() -> list[Order]:
            return await all_orders(buyer)

        def have_ended(orders: list[Order]) -> bool:
            return all(order.state in FINAL_STATES for order in orders)

        return await until(look, have_ended, f"the end of the orders of {buyer.email}", seconds_max=seconds_max)

    async def assert_done_as_told(self, *, seconds_max: float) -> None:
        """Check orders, stock and money against what everybody was told."""
        orders = {
            order.order_id: order for buyer in self.buyers for order in await self.ended(buyer, seconds_max=seconds_max)
        }
        assert set(orders) == {told.order_id for told in self.told if told.what.startswith("place")}
        broken = [told for told in self.told if self._is_broken(told, orders)]
        assert not broken, broken
        await self._assert_stock(list(orders.values()))
        for buyer in self.buyers:
            own = [order for order in orders.values() if order.buyer_id == buyer.user_id]
            spent_minor = sum(order.captured.amount_minor - order.refunded.amount_minor for order in own)
            balance = await buyer.balance()
            assert balance.pending_outgoing.amount_minor == 0, balance
            assert balance.posted.amount_minor == FUNDS_MINOR - spent_minor, balance

    def _is_broken(self, told: Told, orders: dict[UUID, Order]) -> bool:
        """Tell whether an order isn't what somebody was told that it is or will be."""
        order = None if told.order_id is None else orders[told.order_id]
        if order is None or told.refusal:
            return False
        if told.what == "cancel":
            return order.state not in {"CANCELLED", "REFUNDED"}
        if told.what == "refund":
            return order.refunded.amount_minor < PRICE_MINOR
        cancelled = any(other.what == "cancel" and other.order_id == told.order_id for other in self.told)
        return told.state in {"CONFIRMED", *PAID} and not cancelled and order.state not in PAID

    async def _assert_stock(self, orders: Sequence[Order]) -> None:
        sold = sum(
            line.quantity - line.refunded_quantity for order in orders if order.state in PAID for line in order.lines
        )
        product = await self.seller.client.get_product(self.sku)
        assert product.stock == STOCK - sold


def _may_pass(error: TradeFlowError) -> bool:
    """Tell whether asking again may help; a key that stands for something else never may."""
    if isinstance(error, ConflictError):
        return not isinstance(error, KeyReusedError)
    return isinstance(error, UnavailableError)


def _order_of(refusal: RefusedError) -> UUID | None:
    order_id = refusal.details.get("order_id")
    return None if order_id is None else UUID(order_id)


async def persistent_buyers(shop: PublicShop, http: httpx.AsyncClient, *, buyers: int, seed: int) -> PersistentBuyers:
    """Sign up a seller and buyers with money, who speak over connections on which they soon hang up."""
    merchant = await shop.person("merchant")
    sku = await shop.product(merchant, price_minor=PRICE_MINOR, stock=STOCK)
    seller = await _impatient(shop, http, merchant)
    people = [await _impatient(shop, http, await shop.person(funds_minor=FUNDS_MINOR)) for _ in range(buyers)]
    return PersistentBuyers(shop=shop, seller=seller, buyers=people, sku=sku, http=http, seed=seed)


async def _impatient(shop: PublicShop, http: httpx.AsyncClient, person: Person) -> Person:
    client = TradeFlowClient(shop.root.base_url, http=http, attempts_max=1)
    await retrying(lambda: client.login(person.email, PASSWORD))
    return Person(email=person.email, user_id=person.user_id, client=client)


def impatient_http() -> httpx.AsyncClient:
    """Make connections on which nobody waits for long."""
    return httpx.AsyncClient(timeout=ANSWER_SECONDS_MAX, trust_env=False)

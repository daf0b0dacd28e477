"""Whatever happens at once, in whatever order, and wherever the process dies: each order comes to a right end.

Seeds decide; a failure tells its seed, and the same seed is the same story.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from services.orders.domain.order import CaptureMode
from services.orders.inbound.wallet_events import WalletEventsDoor
from services.orders.use_cases.finish_orders import finish_orders
from services.orders.use_cases.once import Answer
from services.runtime.broker.port import ReceivedMessage
from services.runtime.ids import new_id
from tests.support.interleaving import GatedLedger, GatedStore, Gates
from tests.support.orders_world import ENDED, TERMS, OrdersWorld, orders_world, refund_credited

pytestmark = [pytest.mark.ci, pytest.mark.timeout(600)]

WORLDS = 24
STORIES_A_WORLD = 50
"""1,200 stories; each world ends with the comparison of everything."""

EVENTS = 10_000
"""Repeated, reordered and late events of the second test."""


CHEAP, TOO_DEAR = (("tea", 2), ("cup", 1)), (("tea", 2), ("cup", 500_000))
"""What the buyer can pay for, and what nobody can."""


class Story:
    """One order, and what happens to it at once."""

    def __init__(self, world: OrdersWorld, random: Random, name: str) -> None:
        self.world = world
        self.random = random
        self.name = name
        self.capture = random.choice(list(CaptureMode))
        self.lines = CHEAP
        self.order_id: UUID | None = None
        self.events: list[ReceivedMessage] = []

    async def prepare(self) -> None:
        """Bring the order as far as the seed wants; or leave it to be placed among the rest."""
        how_far = self.random.choice(["not placed", "placed", "placed", "captured", "settled", "settled"])
        if how_far == "not placed":
            self.lines = self.random.choice([CHEAP, CHEAP, TOO_DEAR])
            return
        self.order_id = (await self.place()).order.order_id
        if self.capture is CaptureMode.MANUAL and how_far != "placed":
            await self.world.confirm(self.order_id, key=f"{self.name} confirm")
        if how_far in {"captured", "settled"}:
            self.events += await self.world.capture()
        if how_far == "settled":
            await self.world.deliver(self.events)

    def at_once(self) -> list[Awaitable[object]]:
        """Choose two to four things that happen at once."""
        choices: list[Callable[[], Awaitable[object]]] = [self.look, self.look, self.capture_and_tell]
        choices.append(self.repeat_an_event)
        if self.order_id is None:
            choices += [self.place, self.place]
            return [self.place(), *(choice() for choice in self.random.choices(choices, k=self.random.randint(1, 2)))]
        choices += [self.cancel, self.cancel, self.cancel_again, self.refund, self.refund_some, self.confirm]
        choices += [self.reverse]
        return [choice() for choice in self.random.choices(choices, k=self.random.randint(2, 4))]

    async def place(self) -> Answer:
        return await self.world.place(key=f"{self.name} place", capture=self.capture, lines=self.lines)

    async def cancel(self) -> None:
        await self.world.cancel(self._id, key=f"{self.name} cancel")

    async def cancel_again(self) -> None:
        await self.world.cancel(self._id, key=f"{self.name} cancel too")

    async def confirm(self) -> None:
        await self.world.confirm(self._id, key=f"{self.name} confirm")

    async def refund(self) -> None:
        await self.world.refund(self._id, key=f"{self.name} refund")

    async def refund_some(self) -> None:
        await self.world.refund(self._id, key=f"{self.name} refund some", lines=((1, 1),))

    async def look(self) -> None:
        """The reconciler comes by."""
        world = self.world
        await finish_orders(store=world.store, ledger=world.ledger, clock=world.clock, terms=TERMS, orders_at_once=1)

    async def capture_and_tell(self) -> None:
        """The relay, the ledger and the consumer do their part."""
        self.events += await self.world.capture()
        await WalletEventsDoor(store=self.world.store, clock=self.world.clock).handle(list(self.events))

    async def repeat_an_event(self) -> None:
        if self.events:
            await self.world.deliver([self.random.choice(self.events)])

    async def reverse(self) -> None:
        """The treasury undoes the capture, if there is one."""
        hold = self.world.bank.holds.get(self._id)
        if hold is not None and hold.captured_minor > hold.refunded_minor:
            self.events.append(refund_credited(self.world.bank.reverse(self._id)))

    @property
    def _id(self) -> UUID:
        assert self.order_id is not None
        return self.order_id


async def tell(world: OrdersWorld, seed: int) -> None:
    """Tell a story that may be cut short, then let time and the reconciler set things right."""
    random = Random(seed)  # noqa: S311 - a story, no secret
    story = Story(world, random, f"story {seed}")
    await story.prepare()
    await world.clock.advance(random.choice([0, 6, 121, 901]))
    gates = Gates(random, dies_at=random.choice([None, random.randint(0, 25)]))
    world.store, world.ledger = GatedStore(world.real_store, gates), GatedLedger(world.bank, gates)
    try:
        await gates.run(story.at_once())
    finally:
        world.store, world.ledger = world.real_store, world.bank
    for _ in range(3):
        await world.deliver(random.sample(story.events, len(story.events)))
        await world.settle()
        await world.finish(after_seconds=901)
    await world.reconcile(after_seconds=61)
    for order in await world.all_orders():
        assert order.state in ENDED, (seed, order.state, gates.passed)


@pytest.mark.parametrize("first_seed", range(0, WORLDS * STORIES_A_WORLD, STORIES_A_WORLD))
async def test_whatever_happens_at_once_and_wherever_it_dies_all_comes_right(first_seed: int, tmp_path: Path) -> None:
    async with orders_world(tmp_path, stock=1_000, funds_minor=100_000_000) as world:
        for seed in range(first_seed, first_seed + STORIES_A_WORLD):
            try:
                await tell(world, seed)
                await world.assert_agreed()
            except Exception as error:
                error.add_note(f"seed {seed}")
                raise

        assert await world.found() == []
        assert await world.recovery.open_discrepancies() == {}


@pytest.mark.parametrize("seed", [1, 2])
async def test_thousands_of_repeated_reordered_and_late_events_change_nothing(seed: int, tmp_path: Path) -> None:
    random = Random(seed)  # noqa: S311 - a story, no secret
    async with orders_world(tmp_path, stock=1_000, funds_minor=100_000_000) as world:
        events = await orders_of_all_kinds(world)
        before = {order.order_id: order for order in await world.all_orders()}

        sent = 0
        while sent < EVENTS // 2:
            batch = [again(random, random.choice(events)) for _ in range(random.randint(1, 200))]
            await world.deliver(batch)
            sent += len(batch)

        after = {order.order_id: order for order in await world.all_orders()}
        assert after == before, f"seed {seed}"
        await world.assert_agreed()
        assert await world.found() == []


async def orders_of_all_kinds(world: OrdersWorld) -> list[ReceivedMessage]:
    """Bring orders to all of their ends, and return all events that they ever had."""
    events: list[ReceivedMessage] = []
    for number in range(40):
        placed = await world.place(key=f"place {number}", lines=(("tea", 2), ("cup", 1)))
        order_id = placed.order.order_id
        if number % 4 == 0:
            await world.cancel(order_id, key=f"cancel {number}")
        told = await world.capture()
        events += told
        await world.deliver(told)
        match number % 4:
            case 1:
                await world.refund(order_id, key=f"refund {number}", lines=((1, 1),))
                events.append(refund_credited(world.bank.holds[order_id]))
                await world.refund(order_id, key=f"refund {number} too", lines=((2, 1),))
                events.append(refund_credited(world.bank.holds[order_id]))
            case 2:
                events.append(refund_credited(world.bank.reverse(order_id)))
                await world.deliver(events[-1:])
            case _:
                pass
    await world.finish(passes=2)
    return events


def again(random: Random, event: ReceivedMessage) -> ReceivedMessage:
    """Repeat an event, sometimes under an id that nobody remembers: later than any inbox."""
    if random.random() < 0.5:
        return event
    return ReceivedMessage(
        topic=event.topic,
        key=event.key,
        value=event.value,
        headers={**event.headers, "event-id": str(new_id())},
        partition=event.partition,
        offset=event.offset,
    )

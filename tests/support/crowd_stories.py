"""What happens to a crowd's orders: everything at once with faults in the order of a seed, or a death at each point."""

from collections.abc import Awaitable, Callable
from random import Random

from services.orders.domain.order import Order
from services.orders.inbound.wallet_events import WalletEventsDoor
from services.orders.use_cases.finish_orders import finish_orders
from services.runtime.broker.port import ReceivedMessage
from tests.support.crowd import Crowd, Placement, a_crowd, a_random_crowd, placed_together_at_gates
from tests.support.injected_faults import Faults, InjectedBug
from tests.support.interleaving import Gates
from tests.support.orders_world import TERMS, OrdersWorld

TURNS_LATE_MAX = 6
"""How many turns something waits that doesn't begin with the rest: it meets orders in all states."""


class CrowdStory:
    """A crowd's placements, and what happens beside them."""

    def __init__(self, crowd: Crowd, random: Random, gates: Gates) -> None:
        self.crowd = crowd
        self.world = crowd.world
        self.random = random
        self.gates = gates
        self.events: list[ReceivedMessage] = []

    def at_once(self) -> list[Awaitable[object]]:
        """Choose what happens beside the placements; some of these come later than the others."""
        placements = [self.place(placement) for placement in self.crowd.placements]
        choices: list[Callable[[], Awaitable[object]]] = [self.cancel, self.cancel, self.confirm, self.refund]
        choices += [self.look, self.look, self.capture_and_tell, self.capture_and_tell, self.wait, self.leave]
        beside = self.random.choices(choices, k=self.random.randint(2, 6))
        return [*placements, *(self.beside(choice) for choice in beside)]

    async def place(self, placement: Placement) -> None:
        if self.random.random() < 0.3:
            await self.later()
        await self.crowd.place(placement)

    async def beside(self, choice: Callable[[], Awaitable[object]]) -> None:
        await self.later()
        try:
            await choice()
        except InjectedBug:
            self.gates.passed.append("bug")

    async def later(self) -> None:
        for _ in range(self.random.randint(1, TURNS_LATE_MAX)):
            await self.gates.pass_gate("later")

    async def cancel(self) -> None:
        for order in await self.some_order():
            buyer = next(buyer for buyer in self.crowd.buyers if buyer.user_id == order.buyer_id)
            await self.world.cancel(order.order_id, key=f"cancel {order.order_id}", actor=buyer)

    async def confirm(self) -> None:
        for order in await self.some_order():
            await self.world.confirm(order.order_id, key=f"confirm {order.order_id}", actor=self.world.seller)

    async def refund(self) -> None:
        for order in await self.some_order():
            await self.world.refund(order.order_id, key=f"refund {order.order_id}")

    async def look(self) -> None:
        """The reconciler comes by."""
        world = self.world
        await finish_orders(store=world.store, ledger=world.ledger, clock=world.clock, terms=TERMS, orders_at_once=1)

    async def capture_and_tell(self) -> None:
        """The relay, the ledger and the consumer do their part; some events come twice."""
        self.events += await self.world.capture()
        door = WalletEventsDoor(store=self.world.store, clock=self.world.clock)
        await door.handle(self.random.sample(self.events, len(self.events)))

    async def wait(self) -> None:
        """Time passes: leases run out, and orders."""
        await self.world.clock.advance(self.random.choice([6, 31, 121, 901]))

    async def leave(self) -> None:
        """A buyer doesn't wait for the answer."""
        self.gates.cut_off(self.random.randrange(len(self.crowd.placements)))

    async def come_right(self) -> None:
        """Let time and the reconciler set everything right."""
        for _ in range(3):
            await self.world.deliver(self.random.sample(self.events, len(self.events)))
            await self.world.settle()
            await self.world.finish(after_seconds=901)

    async def some_order(self) -> list[Order]:
        orders = await self.world.orders_of(self.random.choice(self.crowd.placements).buyer)
        return [self.random.choice(orders)] if orders else []


async def tell_of_crowd(world: OrdersWorld, seed: int) -> list[str]:
    """Tell a story that may be cut short, let time set things right, and check; return its turns and its refusals."""
    random = Random(seed)  # noqa: S311 - a story, no secret
    crowd = await a_random_crowd(world, random, f"story-{seed}")
    gates = Gates(random, dies_at=random.choice([None, None, random.randint(0, 60)]))
    crowd.faults = Faults(random, share=random.choice([0, 0.05, 0.15, 0.3]))
    story = CrowdStory(crowd, random, gates)
    with placed_together_at_gates(world, gates, together_max=random.choice([3, 64, 64]), faults=crowd.faults):
        await gates.run(story.at_once())
    if random.random() < 0.5:
        await crowd.ask_again()
    await story.come_right()
    await world.assert_agreed(of=crowd.buyers, skus=crowd.skus)
    await crowd.ask_again()
    await story.come_right()
    await crowd.ask_again()
    await crowd.assert_right()
    return [*gates.passed, *(told.refusal for answers in crowd.told.values() for told in answers)]


async def die_among_crowd(world: OrdersWorld, seed: int, *, point: int, repeat: bool) -> list[str] | None:
    """Place a crowd's orders, die at a point, set it right and check it; return the way there, None past the end."""
    crowd = await a_crowd(world, f"point-{point}")
    gates = Gates(Random(seed), dies_at=point)  # noqa: S311 - a story, no secret
    with placed_together_at_gates(world, gates):
        if await gates.run([crowd.place(placement) for placement in crowd.placements]):
            return None
    if repeat:
        await crowd.ask_again()
    for _ in range(3):
        await world.settle()
        await world.finish(after_seconds=901)
    await world.assert_agreed(of=crowd.buyers, skus=crowd.skus)
    await crowd.ask_again()
    await world.settle()
    await world.finish(after_seconds=901, passes=2)
    await crowd.assert_right()
    return gates.passed

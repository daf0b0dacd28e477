"""Several buyers who place orders together, and what each of them was told.

There is a product that is short, keys come twice, with other content too, and one buyer never had any money.
"""

from collections import defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from services.orders.domain.actor import Actor
from services.orders.domain.order import CaptureMode
from services.orders.use_cases.once import Answer
from services.orders.use_cases.placing_together import PlacingTogether
from services.runtime.errors import RefusedError, TradeFlowError
from tests.support.injected_faults import Faults, FaultyLedger, FaultyStore, InjectedBug
from tests.support.interleaving import GatedLedger, GatedPlacing, GatedStore, Gates
from tests.support.orders_world import TERMS, OrdersWorld

RICH_MINOR, LITTLE_MINOR = 100_000, 2_500
"""What pays for everything, and what pays for two pieces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who asks for what under which key."""

    buyer: Actor
    key: str
    lines: tuple[tuple[str, int], ...]
    capture: CaptureMode = CaptureMode.AUTOMATIC


@dataclass(frozen=True, slots=True)
class Told:
    """An answer for good: the order, or why there is none, or one that was rejected."""

    order_id: UUID | None
    refusal: str = ""


@dataclass(kw_only=True)
class Crowd:
    """Buyers with products of their own, so that what they did can be looked at apart from all others."""

    world: OrdersWorld
    buyers: Sequence[Actor]
    skus: Sequence[str]
    placements: Sequence[Placement] = ()
    faults: Faults | None = None
    told: dict[tuple[UUID, str], set[Told]] = field(default_factory=lambda: defaultdict(set))

    async def place(self, placement: Placement) -> None:
        """Place an order, and remember the answer if it is one for good."""
        key = (placement.buyer.user_id, placement.key)
        try:
            answer = await self._place(placement)
        except RefusedError as refusal:
            order_id = refusal.details.get("order_id")
            self.told[key].add(Told(UUID(order_id) if order_id else None, refusal.reason))
        except (TradeFlowError, InjectedBug) as error:
            if self.faults is not None:
                self.faults.check_told(key, error)
        else:
            self.told[key].add(Told(answer.order.order_id))

    async def ask_again(self) -> None:
        """Let all ask again, one after the other, once nobody works under their keys any more."""
        await self.world.clock.advance(TERMS.request_lease.total_seconds() + 1)
        for placement in self.placements:
            await self.place(placement)

    async def assert_right(self) -> None:
        """Check that each key had one answer, that all orders are somebody's answer, and that everything agrees."""
        keys = {(placement.buyer.user_id, placement.key) for placement in self.placements}
        assert {key: len(self.told[key]) for key in keys} == dict.fromkeys(keys, 1), self.told
        orders = await self.world.orders_of(*self.buyers)
        answers = [told.order_id for each in self.told.values() for told in each if told.order_id is not None]
        assert sorted(answers) == sorted(order.order_id for order in orders)
        await self.world.assert_agreed(of=self.buyers, skus=self.skus)

    def _place(self, placement: Placement) -> Awaitable[Answer]:
        return self.world.place(
            buyer=placement.buyer, key=placement.key, lines=placement.lines, capture=placement.capture
        )


async def a_crowd(world: OrdersWorld, name: str) -> Crowd:
    """Make the crowd that has everything in it: seven placements of four buyers, three pieces of what four want."""
    rich, other, little, penniless = [await world.add_buyer(f) for f in (RICH_MINOR, RICH_MINOR, LITTLE_MINOR, None)]
    scarce, own = f"{name}-scarce", f"{name}-own"
    await world.add_product(scarce, 3)
    await world.add_product(own, 50)
    placements = [
        Placement(buyer=rich, key=f"{name} 1", lines=((scarce, 1), (own, 2))),
        Placement(buyer=other, key=f"{name} 1", lines=((scarce, 1),), capture=CaptureMode.MANUAL),
        Placement(buyer=penniless, key=f"{name} 1", lines=((scarce, 1),)),
        Placement(buyer=rich, key=f"{name} 1", lines=((scarce, 1), (own, 2))),
        Placement(buyer=little, key=f"{name} 1", lines=((own, 2),)),
        Placement(buyer=little, key=f"{name} 2", lines=(("cup", 1),)),
        Placement(buyer=other, key=f"{name} 2", lines=((scarce, 1),)),
    ]
    return Crowd(world=world, buyers=[rich, other, little, penniless], skus=[scarce, own], placements=placements)


async def a_random_crowd(world: OrdersWorld, random: Random, name: str) -> Crowd:
    """Make a crowd of which the seed says who wants what; some keys come twice, now and then with other content."""
    crowd = await a_crowd(world, name)
    wishes = [*((sku, quantity) for sku in crowd.skus for quantity in (1, 2)), ("cup", 1), ("nothing", 1)]
    placements: list[Placement] = []
    for number in range(random.randint(3, 8)):
        chosen = dict(random.choices(wishes, weights=[4, 2, 3, 3, 3, 1], k=random.randint(1, 2)))
        placements.append(
            Placement(
                buyer=random.choices(crowd.buyers, weights=[4, 3, 2, 1])[0],
                key=f"{name} {number if random.random() < 0.9 else 0}",
                lines=tuple(chosen.items()),
                capture=random.choice([CaptureMode.AUTOMATIC, CaptureMode.AUTOMATIC, CaptureMode.MANUAL]),
            )
        )
    placements += random.choices(placements, k=random.choice([0, 1, 1, 2]))
    random.shuffle(placements)
    crowd.placements = placements
    return crowd


@contextmanager
def placed_together_at_gates(
    world: OrdersWorld, gates: Gates, *, together_max: int = 64, faults: Faults | None = None
) -> Iterator[None]:
    """Let everything pass the gates, and faults behind them; afterwards the process is another one."""
    store = world.real_store if faults is None else FaultyStore(world.real_store, faults)
    ledger = world.bank if faults is None else FaultyLedger(world.bank, faults)
    world.store, world.ledger = GatedStore(store, gates), GatedLedger(ledger, gates)
    placing = PlacingTogether(store=world.store, clock=world.clock, terms=TERMS, together_max=together_max)
    world.placing = GatedPlacing(placing, gates)
    try:
        yield
    finally:
        world.store, world.ledger = world.real_store, world.bank
        world.placing = PlacingTogether(
            store=world.real_store, clock=world.clock, terms=TERMS, together_max=together_max
        )

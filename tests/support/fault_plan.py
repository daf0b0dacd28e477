"""Which faults a seed stands for: what, when and how long. The same seed is the same plan on any machine.

The first seeds have a theme each, so that together they cover everything that can be done to anything; later seeds mix.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from random import Random
from typing import Final

SERVICES: Final = ("ledger", "orders", "gateway")
"""The processes of this project."""

DATABASES: Final = ("ledger-mysql", "orders-mysql")
"""A MySQL server for each service that keeps something."""

PARTS: Final = (*DATABASES, "kafka", "redis")
"""The servers that services stand on."""

DATABASE_LINKS: Final = ("ledger-database", "orders-database")
"""The connections of a service to its database."""

LINKS: Final = (*DATABASE_LINKS, "redis-link", "ledger-grpc", "orders-http")
"""What lies between two processes; `ledger-grpc` is how orders and gateway call the ledger."""


class FaultKind(StrEnum):
    """What is done."""

    KILL = "is killed (SIGKILL) and started again"
    PAUSE = "hangs (SIGSTOP) and goes on"
    RESTART = "is stopped in order and started again"
    EMPTY = "loses all that it holds (FLUSHALL)"
    STUTTER = "hangs again and again for a moment, as over a disk that stalls"
    LOSE_COMMIT = "loses connections at COMMIT, before it arrives"
    LOSE_COMMIT_ANSWER = "loses connections at COMMIT, which arrived, before its answer does"
    SLOW_COMMIT = "makes each COMMIT wait, as a slow disk does"
    DELAY = "delays all that is sent"
    CUT = "loses its connections and lets none through"


TARGETS: Final[dict[FaultKind, tuple[str, ...]]] = {
    FaultKind.KILL: (*SERVICES, *PARTS),
    FaultKind.PAUSE: (*SERVICES, *PARTS),
    FaultKind.RESTART: (*SERVICES, *PARTS),
    FaultKind.EMPTY: ("redis",),
    FaultKind.STUTTER: DATABASES,
    FaultKind.LOSE_COMMIT: DATABASE_LINKS,
    FaultKind.LOSE_COMMIT_ANSWER: DATABASE_LINKS,
    FaultKind.SLOW_COMMIT: DATABASE_LINKS,
    FaultKind.DELAY: LINKS,
    FaultKind.CUT: LINKS,
}
"""What can be done to whom."""

Hit = tuple[FaultKind, str]
"""Something done to somebody."""

ALL_HITS: Final[tuple[Hit, ...]] = tuple((kind, target) for kind, targets in TARGETS.items() for target in targets)


def _hits(kinds: Iterable[FaultKind], targets: Iterable[str]) -> tuple[Hit, ...]:
    return tuple((kind, target) for kind, target in product(kinds, targets) if target in TARGETS[kind])


THEMES: Final[tuple[tuple[Hit, ...], ...]] = (
    _hits([FaultKind.KILL], SERVICES),
    _hits([FaultKind.PAUSE], SERVICES),
    _hits([FaultKind.RESTART], SERVICES),
    _hits([FaultKind.KILL], ["kafka"]),
    _hits([FaultKind.PAUSE, FaultKind.RESTART], ["kafka"]),
    _hits([FaultKind.KILL], DATABASES),
    _hits([FaultKind.PAUSE], DATABASES),
    _hits([FaultKind.RESTART], DATABASES),
    _hits([FaultKind.LOSE_COMMIT, FaultKind.LOSE_COMMIT_ANSWER], DATABASE_LINKS),
    _hits(FaultKind, ["redis"]),
    _hits([FaultKind.SLOW_COMMIT, FaultKind.STUTTER], [*DATABASE_LINKS, *DATABASES]),
    _hits([FaultKind.DELAY, FaultKind.CUT], LINKS),
)
"""What each of the first seeds does, one after the other."""

THEMED_SEEDS: Final = range(len(THEMES))
"""The seeds with a theme."""

FIRST_AT_SECONDS: Final = 0.5
"""When the first fault begins, after the load."""

PAUSE_SECONDS_MAX: Final = 1.5
"""The longest quiet between two faults of a theme."""

SHORT_SECONDS: Final = (0.5, 2.5)
"""How long all faults of a theme but the longest last: from and to."""

MIXED_FAULTS: Final = (2, 5)
"""How many faults a seed without a theme has, from and to; they may overlap."""

MIXED_AT_SECONDS_MAX: Final = 8.0
"""When the last of them begins, unless it waits for another one on its target."""

MIXED_SECONDS_MIN: Final = 0.5
"""The shortest of them."""

SHORTNESS: Final = 1.5
"""How much more frequent short ones are than long ones; with 1, a second as frequent as ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, `at_seconds` after the plan began, for `seconds`."""

    kind: FaultKind
    target: str
    at_seconds: float
    seconds: float

    @property
    def ends_at_seconds(self) -> float:
        """When it is healed."""
        return self.at_seconds + self.seconds

    def __str__(self) -> str:
        return f"at {self.at_seconds:5.1f} s, for {self.seconds:4.1f} s: {self.target} {self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """All faults of a seed, in the order of their beginnings; none touches a target that another one has in hand."""

    seed: int
    faults: tuple[Fault, ...]

    @property
    def seconds(self) -> float:
        """When the last fault is healed."""
        return max(fault.ends_at_seconds for fault in self.faults)

    def __str__(self) -> str:
        return "\n".join([f"faults of seed {self.seed}:", *(f"  {fault}" for fault in self.faults)])


def plan_of(seed: int, *, outage_seconds_max: float) -> FaultPlan:
    """Plan a seed's faults; none lasts longer than `outage_seconds_max`."""
    chance = Random(f"faults/{seed}")  # noqa: S311 - chance that can be repeated is the point
    themed = seed in THEMED_SEEDS
    faults = _themed(seed, chance, outage_seconds_max) if themed else _mixed(chance, outage_seconds_max)
    return FaultPlan(seed=seed, faults=tuple(faults))


def _themed(seed: int, chance: Random, outage_seconds_max: float) -> list[Fault]:
    """One after the other; one of them is long."""
    hits = chance.sample(THEMES[seed], len(THEMES[seed]))
    long = chance.randrange(len(hits))
    faults: list[Fault] = []
    at_seconds = FIRST_AT_SECONDS
    for number, (kind, target) in enumerate(hits):
        seconds = chance.uniform(*SHORT_SECONDS) if number != long else outage_seconds_max * chance.uniform(0.6, 1)
        fault = Fault(kind=kind, target=target, at_seconds=round(at_seconds, 1), seconds=_seconds_of(kind, seconds))
        faults.append(fault)
        at_seconds = fault.ends_at_seconds + chance.uniform(0.3, PAUSE_SECONDS_MAX)
    return faults


def _mixed(chance: Random, outage_seconds_max: float) -> list[Fault]:
    """Any faults, overlapping; short ones are more frequent than long ones."""
    faults: list[Fault] = []
    for kind, target in chance.sample(ALL_HITS, chance.randint(*MIXED_FAULTS)):
        seconds = MIXED_SECONDS_MIN * (outage_seconds_max / MIXED_SECONDS_MIN) ** (chance.random() ** SHORTNESS)
        faults.append(
            Fault(
                kind=kind,
                target=target,
                at_seconds=round(chance.uniform(FIRST_AT_SECONDS, MIXED_AT_SECONDS_MAX), 1),
                seconds=_seconds_of(kind, seconds),
            )
        )
    return _one_at_a_time(sorted(faults, key=lambda fault: fault.at_seconds))


def _seconds_of(kind: FaultKind, seconds: float) -> float:
    return 0.0 if kind is FaultKind.EMPTY else round(seconds, 1)


def _one_at_a_time(faults: Sequence[Fault]) -> list[Fault]:
    """Move each fault behind the one that has its target in hand."""
    free_at: dict[str, float] = {}
    moved: list[Fault] = []
    for fault in faults:
        at_seconds = max(fault.at_seconds, free_at.get(fault.target, 0.0))
        moved.append(replace(fault, at_seconds=round(at_seconds, 1)))
        free_at[fault.target] = moved[-1].ends_at_seconds + FIRST_AT_SECONDS
    return sorted(moved, key=lambda fault: fault.at_seconds)

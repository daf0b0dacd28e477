"""The door for time: now and then, somebody looks after what was left in the middle and what has expired."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from services.orders.domain.terms import Terms
from services.orders.identity_ports import IdentityStore
from services.orders.ports import Ledger, Store
from services.orders.use_cases.finish_orders import ORDERS_A_PASS_MAX, finish_orders
from services.orders.use_cases.forget_expired import ROWS_A_PASS_MAX, forget_expired
from services.orders.use_cases.forget_keys import KEYS_A_PASS_MAX, forget_keys
from services.runtime.clock import Clock

DISCREPANCIES_A_PASS_MAX = 1_000
"""Deleted at once; a few milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishingLoop:
    """Finishes orders; `pause_seconds` is between two looks when nothing is due."""

    store: Store
    ledger: Ledger
    clock: Clock
    terms: Terms
    pause_seconds: float

    async def run(self) -> None:
        """Look until cancelled; a full pass is followed by the next at once."""
        while True:
            looked_at = await finish_orders(store=self.store, ledger=self.ledger, clock=self.clock, terms=self.terms)
            if looked_at < ORDERS_A_PASS_MAX:
                await self.clock.sleep(self.pause_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingLoop:
    """Deletes sessions, revocations and password resets that time has ended."""

    store: IdentityStore
    clock: Clock
    pause_seconds: float

    async def run(self) -> None:
        """Delete until cancelled; a full pass is followed by the next at once."""
        while True:
            forgotten = await forget_expired(store=self.store, clock=self.clock)
            if forgotten < ROWS_A_PASS_MAX:
                await self.clock.sleep(self.pause_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyForgettingLoop:
    """Deletes the keys of old requests; `on_forgotten` is told how many."""

    store: Store
    clock: Clock
    retention: timedelta
    pause_seconds: float
    on_forgotten: Callable[[int], None]

    async def run(self) -> None:
        """Delete until cancelled; a full pass is followed by the next at once."""
        while True:
            forgotten = await forget_keys(store=self.store, clock=self.clock, retention=self.retention)
            self.on_forgotten(forgotten)
            if forgotten < KEYS_A_PASS_MAX:
                await self.clock.sleep(self.pause_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealedForgettingLoop:
    """Deletes discrepancies that were healed longer ago than `retention`."""

    store: Store
    clock: Clock
    retention: timedelta
    pause_seconds: float

    async def run(self) -> None:
        """Delete until cancelled; a full pass is followed by the next at once."""
        while True:
            async with self.store.transaction() as rows:
                forgotten = await rows.comparisons.forget(
                    healed_before=self.clock.now() - self.retention, rows_max=DISCREPANCIES_A_PASS_MAX
                )
            if forgotten < DISCREPANCIES_A_PASS_MAX:
                await self.clock.sleep(self.pause_seconds)

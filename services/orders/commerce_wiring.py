"""How products, orders and their talks with the ledger are put together, beside `wiring`."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from services.orders.inbound.commerce import Commerce
from services.orders.inbound.reconciling_loop import ReconcilingLoop, ReconcilingMetrics
from services.orders.ledger_wiring import open_ledger
from services.orders.metrics import OrdersMetrics
from services.orders.outbound.due_orders import DueOrders
from services.orders.outbound.ledger_guards import LedgerGuards
from services.orders.outbound.reads import SqlReads
from services.orders.outbound.recovery_reads import SqlRecoveryReads
from services.orders.outbound.sale_reads import SqlSaleReads
from services.orders.ports import Store
from services.orders.settings import OrdersSettings
from services.orders.use_cases.finish_orders import ORDERS_A_PASS_MAX, finish_orders
from services.orders.use_cases.forget_healed import DISCREPANCIES_A_PASS_MAX, forget_healed
from services.orders.use_cases.forget_keys import KEYS_A_PASS_MAX, forget_keys
from services.orders.use_cases.placing import Placing, PlacingAlone
from services.orders.use_cases.placing_together import PlacingTogether
from services.runtime.background import Loop
from services.runtime.clock import Clock
from services.runtime.database.port import Database
from services.runtime.passes import repeat_passes

FORGET_KEYS_EVERY_SECONDS: Final = 600.0
"""How often the keys of old requests are deleted."""

HEALED_RETENTION: Final = timedelta(days=90)
"""How long discrepancies that were healed are listed: a quarter, which is what is looked back on."""

FORGET_HEALED_EVERY_SECONDS: Final = 600.0
"""How often older ones are deleted."""


async def open_commerce(
    settings: OrdersSettings,
    registry: CollectorRegistry,
    stack: AsyncExitStack,
    *,
    store: Store,
    database: Database,
    clock: Clock,
) -> Commerce:
    """Make the parts; the stack closes what talks with the ledger."""
    guards = LedgerGuards.make(
        registry,
        calls_at_once_max=settings.ledger_waiting_max,
        failures_max=settings.ledger_failures_max,
        open_seconds=settings.ledger_open_seconds,
    )
    return Commerce(
        store=store,
        placing=_placing(settings, store, clock),
        reads=SqlReads(database),
        recovery=SqlRecoveryReads(database),
        selling=SqlSaleReads(database),
        ledger=await open_ledger(settings, stack, clock, guards=guards),
        clock=clock,
        terms=settings.to_terms(),
    )


def _placing(settings: OrdersSettings, store: Store, clock: Clock) -> Placing:
    terms = settings.to_terms()
    if settings.placed_together_max == 1:
        return PlacingAlone(store=store, clock=clock, terms=terms)
    return PlacingTogether(store=store, clock=clock, terms=terms, together_max=settings.placed_together_max)


def commerce_loops(
    settings: OrdersSettings,
    commerce: Commerce,
    *,
    database: Database,
    metrics: OrdersMetrics,
    registry: CollectorRegistry,
) -> Mapping[str, Loop]:
    """Make the loops."""
    store, clock = commerce.store, commerce.clock
    reconciling = ReconcilingLoop(
        store=store,
        reads=commerce.recovery,
        ledger=commerce.ledger,
        clock=clock,
        metrics=ReconcilingMetrics(registry),
        pause_seconds=settings.reconcile_every_seconds,
    )
    retention = timedelta(days=settings.request_key_retention_days)

    async def forget_and_count_keys() -> int:
        forgotten = await forget_keys(store=store, clock=clock, retention=retention)
        metrics.keys_forgotten.inc(forgotten)
        return forgotten

    return {
        "due_orders": DueOrders(database, clock, metrics).run,
        "finish_orders": partial(
            repeat_passes,
            partial(finish_orders, store=store, ledger=commerce.ledger, clock=clock, terms=commerce.terms),
            full=ORDERS_A_PASS_MAX,
            clock=clock,
            pause_seconds=settings.finish_every_seconds,
        ),
        "reconcile_orders": reconciling.run,
        "forget_keys": partial(
            repeat_passes,
            forget_and_count_keys,
            full=KEYS_A_PASS_MAX,
            clock=clock,
            pause_seconds=FORGET_KEYS_EVERY_SECONDS,
        ),
        "forget_healed": partial(
            repeat_passes,
            partial(forget_healed, store=store, clock=clock, retention=HEALED_RETENTION),
            full=DISCREPANCIES_A_PASS_MAX,
            clock=clock,
            pause_seconds=FORGET_HEALED_EVERY_SECONDS,
        ),
    }

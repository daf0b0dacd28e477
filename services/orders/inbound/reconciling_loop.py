"""The door for doubt: orders are compared with the ledger for as long as the process lives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.orders.domain.discrepancy import DiscrepancyKind
from services.orders.ports import Ledger, Store
from services.orders.recovery_ports import RecoveryReads
from services.orders.use_cases.reconcile_orders import SCOPES, Reconciled, Scope, reconcile_step
from services.runtime.clock import Clock
from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)


class ReconcilingMetrics:
    """How well orders and the ledger agree, as far as it is known."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.discrepancies = Gauge(
            "tradeflow_orders_discrepancies",
            "Orders that disagree with the ledger and aren't healed.",
            ["kind"],
            registry=registry,
        )
        self.age_seconds = Gauge(
            "tradeflow_orders_reconciled_age_seconds",
            "How long ago the last whole comparison began; before the first one, how long the first one takes.",
            ["scope"],
            registry=registry,
        )
        self.compared = Counter(
            "tradeflow_orders_compared", "Orders compared with the ledger.", ["scope"], registry=registry
        )
        self.healed = Counter(
            "tradeflow_orders_discrepancies_healed", "Discrepancies set right.", ["kind"], registry=registry
        )
        for kind in DiscrepancyKind:
            self.discrepancies.labels(kind.value).set(0)
            self.healed.labels(kind.value)

    def count(self, scope: Scope, reconciled: Reconciled) -> None:
        """Count a step."""
        self.compared.labels(scope.name).inc(reconciled.compared)
        for discrepancy in reconciled.healed:
            self.healed.labels(discrepancy.kind.value).inc()

    def note_round(self, scope: str, began_at: datetime, clock: Clock) -> None:
        """Show when a scope's last whole comparison began; its age goes on while nothing can be asked."""
        self.age_seconds.labels(scope).set_function(lambda: max((clock.now() - began_at).total_seconds(), 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilingLoop:
    """Compares orders with the ledger, one step of each scope at a time.

    A step that leaves some is followed by the next one after as long a rest as it took: at most half of the time goes
    into comparing, and less is asked of a ledger that takes longer to answer. `pause_seconds` is the longest rest, and
    the one where nothing is left.
    """

    store: Store
    reads: RecoveryReads
    ledger: Ledger
    clock: Clock
    metrics: ReconcilingMetrics
    pause_seconds: float
    scopes: Sequence[Scope] = SCOPES

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            began_at, leaves_some = self.clock.now(), False
            try:
                leaves_some = await self.step()
            except UnavailableError as error:
                logger.warning("orders_not_compared", reason=error.reason)
            took_seconds = max((self.clock.now() - began_at).total_seconds(), 0.0)
            await self.clock.sleep(min(took_seconds, self.pause_seconds) if leaves_some else self.pause_seconds)

    async def step(self) -> bool:
        """Take a step of each scope, and say how it stands; tell whether a round goes on.

        Raises:
            UnavailableError: The ledger or the database is away.
        """
        leaves_some = False
        try:
            for scope in self.scopes:
                reconciled = await reconcile_step(scope, store=self.store, ledger=self.ledger, clock=self.clock)
                if reconciled is not None:
                    self.metrics.count(scope, reconciled)
                    leaves_some = leaves_some or not reconciled.ends_round
        finally:
            await self._show()
        return leaves_some

    async def _show(self) -> None:
        for one in (await self.reads.progress()).rounds:
            self.metrics.note_round(one.scope, one.compared_at or one.began_at, self.clock)
        counts = await self.reads.open_discrepancies()
        for kind in DiscrepancyKind:
            self.metrics.discrepancies.labels(kind.value).set(counts.get(kind, 0))

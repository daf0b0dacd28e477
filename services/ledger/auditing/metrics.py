"""What the audit shows; nothing while this process does not audit, so that nobody takes an old answer for a new one."""

import time
from collections import defaultdict

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.ledger.auditing.audited_invariant import AuditedInvariant
from services.ledger.auditing.book_walk import BookWalk


class AuditMetrics:
    """Fits one auditor."""

    def __init__(self, registry: CollectorRegistry, *, book_id: int) -> None:
        """Register the metrics; once for a registry."""
        self._book = str(book_id)
        self._holds = Gauge(
            "tradeflow_ledger_invariant_holds",
            "1 when the last walk through the whole book found nothing that breaks it, 0 from the first row that does",
            ("invariant",),
            registry=registry,
        )
        self._age_seconds = Gauge(
            "tradeflow_ledger_audit_age_seconds",
            "For how long no walk through the whole book has ended",
            ("book",),
            registry=registry,
        )
        self._walk_seconds = Gauge(
            "tradeflow_ledger_audit_walk_duration_seconds",
            "How long the last walk through the book took",
            ("book",),
            registry=registry,
        )
        self._walks = Counter(
            "tradeflow_ledger_audit_walks",
            "Walks through the book: clean, broken (something was found), interrupted",
            ("outcome",),
            registry=registry,
        )
        self._rows = Counter("tradeflow_ledger_audited_rows", "Rows that were looked at", registry=registry)
        self._open_holds = Gauge(
            "tradeflow_ledger_open_holds", "Holds that hold money, at the last walk", ("currency",), registry=registry
        )
        self._open_holds_minor = Gauge(
            "tradeflow_ledger_open_holds_amount_minor",
            "What they hold, in minor units",
            ("currency",),
            registry=registry,
        )
        self._balances_minor = Gauge(
            "tradeflow_ledger_balance_minor",
            "The accounts' balances by their type, in minor units, at the last walk; those of a currency sum to zero",
            ("currency", "account_type"),
            registry=registry,
        )
        self._ended_at_seconds = 0.0

    def begin(self) -> None:
        """Begin to audit: the age counts from now."""
        self._ended_at_seconds = time.monotonic()
        self._age_seconds.labels(self._book).set_function(lambda: time.monotonic() - self._ended_at_seconds)

    def end(self) -> None:
        """Show nothing any more: another process may audit now."""
        gauges = (self._holds, self._age_seconds, self._walk_seconds)
        for gauge in (*gauges, self._open_holds, self._open_holds_minor, self._balances_minor):
            gauge.clear()

    def note_broken(self, invariant: AuditedInvariant) -> None:
        """Show at once what was found."""
        self._holds.labels(invariant.value).set(0)

    def note_rows(self, rows: int) -> None:
        """Count what a step looked at."""
        self._rows.inc(rows)

    def note_interrupted(self) -> None:
        """Count a walk that came to no end."""
        self._walks.labels("interrupted").inc()

    def note_walk(self, walk: BookWalk, seconds: float) -> None:
        """Show what a walk through the whole book found."""
        self._ended_at_seconds = time.monotonic()
        self._walk_seconds.labels(self._book).set(seconds)
        self._walks.labels("broken" if walk.findings.broken else "clean").inc()
        for invariant in AuditedInvariant:
            self._holds.labels(invariant.value).set(invariant not in walk.findings.broken)
        for (currency, account_type), balance_minor in walk.sums.balances_minor.items():
            self._balances_minor.labels(currency, account_type).set(balance_minor)
        self._note_holds(walk)

    def _note_holds(self, walk: BookWalk) -> None:
        # A currency whose last hold has ended is shown with none.
        counts = dict.fromkeys((currency for currency, _ in walk.sums.balances_minor), 0)
        amounts: dict[str, int] = defaultdict(int)
        for hold in walk.sums.active_holds.values():
            counts[hold.currency] = counts.get(hold.currency, 0) + 1
            amounts[hold.currency] += hold.remaining_minor
        for currency, count in counts.items():
            self._open_holds.labels(currency).set(count)
            self._open_holds_minor.labels(currency).set(amounts[currency])

"""What operators look at, read from the metrics that the services show to Prometheus.

A chosen few and no others: metrics are for machines inside of the network, and most of them are nobody's business in a
browser.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec
from prometheus_client.metrics_core import Metric

ServiceName = Literal["gateway", "orders", "ledger"]
"""Who is looked at."""

PUBLIC_ROUTES = ("/api/", "/auth/", "/console/session", "/oauth/")
"""How routes begin that people and programs wait for; connections that stay open would be no latency."""

PLACING = ("POST", "/api/v1/orders")
"""The call that everything is for, as orders sees it: to the gateway it is one of many that it passes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """What one service answered."""

    name: ServiceName
    ready: bool
    checks: Mapping[str, str]
    """`ok` or what is wrong, by the name of the part."""
    families: tuple[Metric, ...] = field(repr=False)
    """Its metrics; none where it didn't answer."""


class ServiceReports(Protocol):
    """Asks the services."""

    async def read(self) -> tuple[ServiceReport, ...]:
        """Return one report for each service, also of one that doesn't answer."""
        ...


class Invariant(msgspec.Struct, frozen=True):
    """What the ledger's last walk through the whole book says of one promise."""

    name: str
    holds: bool


class Outbox(msgspec.Struct, frozen=True):
    """Events on their way out of a service's database."""

    service: ServiceName
    stream: str
    waiting_events: int
    oldest_seconds: float
    published: int
    """Since the process began."""


class Consumer(msgspec.Struct, frozen=True):
    """A reader of events."""

    service: ServiceName
    name: str
    healthy: bool
    lag_messages: int
    dead_letters: int


class Latency(msgspec.Struct, frozen=True):
    """How often something was done and how long it took, since the process began."""

    count: int
    failed: int
    """Answered with a status of 500 or more."""
    buckets: list[tuple[float, int]]
    """How many took at most so many seconds; without the last, endless one, which is `count`."""


class Holds(msgspec.Struct, frozen=True):
    """Money that is held for orders."""

    currency: str
    count: int
    amount_minor: int


class ServiceState(msgspec.Struct, frozen=True):
    """One service."""

    name: ServiceName
    ready: bool
    checks: dict[str, str]
    version: str
    started_at_seconds: float
    """Since 1970; 0 where it isn't known."""
    resident_bytes: int


class Figures(msgspec.Struct, frozen=True):
    """Everything at one moment. Counters begin with their process: take differences of two looks."""

    services: list[ServiceState]
    invariants: list[Invariant]
    audit_age_seconds: float | None
    """For how long no walk through the book has ended; None where the ledger doesn't say."""
    outboxes: list[Outbox]
    consumers: list[Consumer]
    discrepancies: dict[str, int]
    """Orders that disagree with the ledger, by kind."""
    order_states: dict[str, int]
    """How many orders came into each state."""
    commands: dict[str, int]
    """The ledger's commands by their end."""
    connections: dict[str, int]
    """For live events, by transport, at this gateway."""
    wallet_events: int
    requests: Latency
    """The public API, at this gateway."""
    placing: Latency
    """Placing an order, in orders: up to the ledger's answer."""
    holds: list[Holds]


def figures_of(reports: Iterable[ServiceReport]) -> Figures:
    """Choose what operators look at."""
    seen = {report.name: _Samples(report) for report in reports}
    gateway, orders, ledger = seen["gateway"], seen["orders"], seen["ledger"]
    behind = (orders, ledger)
    ages = ledger.by("tradeflow_ledger_audit_age_seconds", "book").values()
    return Figures(
        services=[samples.state() for samples in seen.values()],
        invariants=[
            Invariant(name=name, holds=value == 1)
            for name, value in sorted(ledger.by("tradeflow_ledger_invariant_holds", "invariant").items())
        ],
        audit_age_seconds=max(ages, default=None),
        outboxes=[outbox for samples in behind for outbox in samples.outboxes()],
        consumers=[consumer for samples in behind for consumer in samples.consumers()],
        discrepancies=_whole(orders.by("tradeflow_orders_discrepancies", "kind")),
        order_states=_whole(orders.by("tradeflow_orders_state_changes_total", "state")),
        commands=_whole(ledger.by("tradeflow_ledger_commands_total", "outcome")),
        connections=_whole(gateway.by("tradeflow_gateway_connections", "transport")),
        wallet_events=int(gateway.total("tradeflow_gateway_wallet_events_total")),
        requests=gateway.latency(lambda method, route: method != "OTHER" and route.startswith(PUBLIC_ROUTES)),
        placing=orders.latency(lambda method, route: (method, route) == PLACING),
        holds=ledger.holds(),
    )


class _Choice(Protocol):
    def __call__(self, method: str, route: str) -> bool: ...


class _Samples:
    """The samples of one service, by their names."""

    def __init__(self, report: ServiceReport) -> None:
        self._report = report
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for family in report.families:
            for sample in family.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sum a metric by one of its labels."""
        sums: dict[str, float] = defaultdict(float)
        for labels, value in self._samples.get(name, ()):
            sums[labels.get(label, "")] += value
        return dict(sums)

    def total(self, name: str) -> float:
        """Sum a metric over all of its labels."""
        return sum(value for _, value in self._samples.get(name, ()))

    def state(self) -> ServiceState:
        """Tell how the service is."""
        report = self._report
        return ServiceState(
            name=report.name,
            ready=report.ready,
            checks=dict(report.checks),
            version=next(iter(self.by("tradeflow_build_info", "version")), ""),
            started_at_seconds=self.total("process_start_time_seconds"),
            resident_bytes=int(self.total("process_resident_memory_bytes")),
        )

    def outboxes(self) -> list[Outbox]:
        """Tell what waits to be published."""
        ages = self.by("tradeflow_outbox_lag_seconds", "stream")
        published = self.by("tradeflow_outbox_published_total", "stream")
        return [
            Outbox(
                service=self._report.name,
                stream=stream,
                waiting_events=int(waiting),
                oldest_seconds=ages.get(stream, 0.0),
                published=int(published.get(stream, 0)),
            )
            for stream, waiting in sorted(self.by("tradeflow_outbox_lag_events", "stream").items())
        ]

    def consumers(self) -> list[Consumer]:
        """Tell what waits to be read, and what could not be handled."""
        lags = self.by("tradeflow_consumer_lag_messages", "consumer")
        letters = self.by("tradeflow_consumer_dead_letters_waiting", "consumer")
        return [
            Consumer(
                service=self._report.name,
                name=name,
                healthy=healthy == 1,
                lag_messages=int(lags.get(name, 0)),
                dead_letters=int(letters.get(name, 0)),
            )
            for name, healthy in sorted(self.by("tradeflow_consumer_healthy", "consumer").items())
        ]

    def holds(self) -> list[Holds]:
        """Tell what is held."""
        amounts = self.by("tradeflow_ledger_open_holds_amount_minor", "currency")
        counts = self.by("tradeflow_ledger_open_holds", "currency")
        return [
            Holds(currency=currency, count=int(count), amount_minor=int(amounts.get(currency, 0)))
            for currency, count in sorted(counts.items())
        ]

    def latency(self, is_counted: _Choice) -> Latency:
        """Add up the requests of the chosen routes."""
        name = "tradeflow_http_request_duration_seconds"
        chosen: dict[str, list[tuple[Mapping[str, str], float]]] = {
            part: [
                (labels, value)
                for labels, value in self._samples.get(f"{name}_{part}", ())
                if is_counted(method=labels.get("method", ""), route=labels.get("route", ""))
            ]
            for part in ("bucket", "count")
        }
        buckets: dict[float, float] = defaultdict(float)
        for labels, value in chosen["bucket"]:
            buckets[float(labels["le"])] += value
        buckets.pop(float("inf"), None)
        return Latency(
            count=int(sum(value for _, value in chosen["count"])),
            failed=int(sum(value for labels, value in chosen["count"] if labels.get("status", "").startswith("5"))),
            buckets=[(bound, int(value)) for bound, value in sorted(buckets.items())],
        )


def _whole(values: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in sorted(values.items())}

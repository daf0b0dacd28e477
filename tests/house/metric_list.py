"""Every metric of every process, as docs/metrics.md lists them: `python -m tests.house.metric_list` writes it anew.

The services are started, each with a registry of its own, so that what nobody wires is not listed. The operator's
metrics are one class, which registers them all.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from services.embedded.data_folder import DataFolder
from services.embedded.options import on_free_ports
from services.embedded.redis_server import serving_redis
from services.embedded.service_settings import plan_of
from services.gateway import wiring as gateway_wiring
from services.gateway.keys import ensure_keys
from services.ledger import wiring as ledger_wiring
from services.orders import wiring as orders_wiring
from services.runtime.metrics import new_registry
from tradeflow_operator.metrics import OperatorMetrics

ROOT = Path(__file__).parents[2]

DOCUMENT = ROOT / "docs" / "metrics.md"
"""The list."""

SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
    "gauge": ("",),
    "info": ("_info",),
}
"""What each kind of metric is called in queries."""

NOBODY_LISTENS = "ipv4:127.0.0.1:9"
"""Where other replicas of the ledger would be: what is counted of them is listed too."""

HEAD = """# Metrics

What the processes show on `/metrics`, generated from their registries by `make dashboards`. Counters are queried by
their full name, histograms as `…_bucket`, `…_sum` and `…_count`. Labels have few values each: routes are templates,
RPCs are methods, states and reasons are words of the code. Times are seconds; amounts are minor units, of one currency
a series.

| metric | kind | labels | what it tells | process |
|---|---|---|---|---|
"""

ROW = re.compile(r"\| `(?P<name>\w+)` \| (?P<kind>\w+) \| (?P<labels>.*?) \| (?P<text>.*?) \| (?P<services>.*?) \|")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMetric:
    """One metric."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    services: tuple[str, ...]

    @property
    def series(self) -> tuple[str, ...]:
        """Name what can be asked for."""
        base = self.name.removesuffix("_total") if self.kind == "counter" else self.name
        return tuple(f"{base}{suffix}" for suffix in SUFFIXES[self.kind])

    def row(self) -> str:
        """Write its line of the document."""
        labels = ", ".join(f"`{label}`" for label in self.labels)
        return f"| `{self.name}` | {self.kind} | {labels} | {self.text} | {', '.join(self.services)} |\n"


def listed_metrics() -> list[ListedMetric]:
    """Read the document."""
    return [
        ListedMetric(
            name=row["name"],
            kind=row["kind"],
            labels=tuple(re.findall(r"`(\w+)`", row["labels"])),
            text=row["text"],
            services=tuple(row["services"].split(", ")),
        )
        for row in ROW.finditer(DOCUMENT.read_text())
    ]


def document_of(metrics: list[ListedMetric]) -> str:
    """Write the document."""
    return HEAD + "".join(metric.row() for metric in metrics)


async def registered_metrics() -> list[ListedMetric]:
    """Start all three services and look into their registries, and into the operator's."""
    by_name: dict[str, ListedMetric] = {}
    async with _started() as registries:
        for service, registry in (registries | {"operator": OperatorMetrics().registry}).items():
            for metric in _metrics_of(service, registry):
                known = by_name.get(metric.name)
                services = (*known.services, service) if known is not None else (service,)
                by_name[metric.name] = replace(metric, services=services)
    return [by_name[name] for name in sorted(by_name)]


@asynccontextmanager
async def _started() -> AsyncIterator[dict[str, CollectorRegistry]]:
    registries = {service: new_registry(service) for service in ("gateway", "ledger", "orders")}
    with TemporaryDirectory() as data:
        options = on_free_ports(Path(data))
        folder = DataFolder(options.data)
        folder.prepare()
        ensure_keys(folder.keys)
        plan = plan_of(options, folder)
        ledger_settings = plan.ledger().model_copy(update={"replicas_grpc_target": NOBODY_LISTENS})
        async with (
            serving_redis() as redis_url,
            ledger_wiring.running(ledger_settings, registry=registries["ledger"]) as ledger,
            orders_wiring.running(
                plan.orders(ledger_grpc_target=ledger.grpc_target), registry=registries["orders"]
            ) as orders,
            gateway_wiring.running(
                plan.gateway(
                    redis_url=redis_url,
                    orders_url=orders.http_url,
                    ledger_url=ledger.http_url,
                    orders_grpc_target=orders.grpc_target,
                    ledger_grpc_target=ledger.grpc_target,
                ),
                registry=registries["gateway"],
            ),
        ):
            yield registries


def _metrics_of(service: str, registry: CollectorRegistry) -> Iterator[ListedMetric]:
    for collector in list(registry._collector_to_names):
        declared = tuple(collector._labelnames) if isinstance(collector, MetricWrapperBase) else None
        for family in collector.collect():
            labels = (
                declared if declared is not None else tuple(sorted({name for s in family.samples for name in s.labels}))
            )
            name = f"{family.name}_total" if family.type == "counter" else family.name
            text = family.documentation.rstrip(".")
            yield ListedMetric(name=name, kind=family.type, labels=labels, text=text, services=(service,))


def main() -> None:
    """Write the document."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document_of(asyncio.run(registered_metrics())))


if __name__ == "__main__":
    main()

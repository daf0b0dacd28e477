"""Asks this gateway, orders and the ledger how they are, for operators: `/readyz`, and a look at `/metrics`."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx
import msgspec
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from services.gateway.operations import ServiceName, ServiceReport
from services.runtime.health import Health

logger = structlog.get_logger(__name__)

SECONDS_MAX: Final = 3.0
"""How long a service may take; its own checks take two."""

KEPT_SECONDS: Final = 1.0
"""How long an answer is good for everybody: many who look cost as much as one."""

METRICS_BYTES_MAX: Final = 4 * 1024 * 1024
"""What a service shows is a tenth of that."""


class _Readiness(msgspec.Struct):
    status: str = ""
    checks: dict[str, str] = {}
    hints: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnState:
    """What this gateway knows of itself."""

    health: Health
    registry: CollectorRegistry


class HttpServiceReports:
    """Fits `ServiceReports`. Behind a load balancer each look is at one replica of a service."""

    def __init__(self, http: httpx.AsyncClient, own: OwnState, urls: Mapping[ServiceName, str]) -> None:
        """Ask over `http`, which its owner closes."""
        self._http = http
        self._own = own
        self._urls = urls
        self._asking = asyncio.Lock()
        self._reports: tuple[ServiceReport, ...] = ()
        self._good_until_seconds = 0.0

    async def read(self) -> tuple[ServiceReport, ...]:
        """Return one report for each service, also of one that doesn't answer."""
        async with self._asking:
            if time.monotonic() >= self._good_until_seconds:
                others = (self._report(name, url.rstrip("/")) for name, url in self._urls.items())
                self._reports = tuple(await asyncio.gather(self._own_report(), *others))
                self._good_until_seconds = time.monotonic() + KEPT_SECONDS
        return self._reports

    async def _own_report(self) -> ServiceReport:
        readiness = await self._own.health.readiness()
        return ServiceReport(
            name="gateway",
            ready=readiness.ready,
            checks={**readiness.hints, **readiness.checks},
            families=tuple(self._own.registry.collect()),
        )

    async def _report(self, name: ServiceName, url: str) -> ServiceReport:
        try:
            async with asyncio.timeout(SECONDS_MAX):
                ready, metrics = await asyncio.gather(self._http.get(f"{url}/readyz"), self._http.get(f"{url}/metrics"))
            told = msgspec.json.decode(ready.content, type=_Readiness)
            families = await asyncio.to_thread(_families_of, metrics)
        except (TimeoutError, httpx.HTTPError, msgspec.MsgspecError, ValueError) as error:
            logger.warning("service_not_seen", service=name, error=repr(error))
            return ServiceReport(name=name, ready=False, checks={"answer": "none"}, families=())
        checks = {**told.hints, **told.checks}
        return ServiceReport(name=name, ready=ready.is_success, checks=checks, families=families)


def _families_of(answer: httpx.Response) -> tuple[Metric, ...]:
    """Parse what a service shows, outside of the event loop: it takes tens of milliseconds.

    Raises:
        ValueError: It isn't the text format, or endless.
    """
    if len(answer.content) > METRICS_BYTES_MAX:
        raise ValueError("too many metrics")
    return tuple(text_string_to_metric_families(answer.text))

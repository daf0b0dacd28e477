"""RateLimitPolicy: a ConfigMap that the gateways mount, and what each of them says of it."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import ClassVar

from tradeflow_operator.clients.owned_objects import OwnedObjects
from tradeflow_operator.clients.service_addresses import Answer, ServiceAddresses, samples_of
from tradeflow_operator.kinds import Kind
from tradeflow_operator.reconcile.ownership import WriteConfigMap
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.reconcile.rate_limit_policy import (
    ENTRY,
    GatewayLimits,
    LimitsSeen,
    RateLimitPolicySpec,
    config_map_name_of,
    plan_limits,
)
from tradeflow_operator.resources import Resource

_METRICS_SUFFIX = "-metrics"
"""What ends the name of the Service by which the gateway's chart shows metrics, beside the gateway's own."""

_METRICS_PORT = "metrics"
"""Its port."""

_OK = "tradeflow_gateway_rate_limits_file_ok"
_DIGEST = "tradeflow_gateway_rate_limits_file_info"


class RateLimitPolicyKind(Kind[RateLimitPolicySpec, LimitsSeen]):
    """Writes limits, and asks whether they hold."""

    name: ClassVar[str] = "RateLimitPolicy"
    plural: ClassVar[str] = "ratelimitpolicies"
    spec_type = RateLimitPolicySpec

    def __init__(self, objects: OwnedObjects, addresses: ServiceAddresses) -> None:
        """Take what it reads and writes with."""
        self._objects = objects
        self._addresses = addresses

    def claim(self, resource: Resource[RateLimitPolicySpec]) -> str | None:
        """Own a ConfigMap."""
        return f"ConfigMap {resource.namespace}/{config_map_name_of(resource)}"

    async def observe(self, resource: Resource[RateLimitPolicySpec]) -> LimitsSeen:
        """Read the ConfigMap, and ask the gateways."""
        config_map, gateways = await asyncio.gather(
            self._objects.read_entry(resource.key, config_map_name_of(resource), ENTRY), self._ask(resource)
        )
        return LimitsSeen(config_map=config_map, gateways=gateways)

    def plan(self, resource: Resource[RateLimitPolicySpec], observed: LimitsSeen, now: datetime) -> Plan:
        """Decide."""
        return plan_limits(resource, observed, now)

    async def apply(self, resource: Resource[RateLimitPolicySpec], step: Step) -> None:
        """Write."""
        if isinstance(step, WriteConfigMap):
            await self._objects.write_entry(resource.namespace, step)

    async def _ask(self, resource: Resource[RateLimitPolicySpec]) -> tuple[GatewayLimits, ...]:
        gateway = resource.spec.gateway
        if gateway is None:
            return ()
        ask = partial(self._addresses.ask, resource.namespace)
        apart, public = await asyncio.gather(
            ask(f"{gateway.service}{_METRICS_SUFFIX}", _METRICS_PORT, "/metrics"),
            ask(gateway.service, gateway.port, "/metrics"),
        )
        return tuple(_limits_of(answer) for answer in _best(apart, public))


def _best(apart: Sequence[Answer], public: Sequence[Answer]) -> list[Answer]:
    """Take what a gateway says where it shows metrics to monitoring alone, and else what it says to everybody.

    While a version rolls out, there may be gateways of either kind.
    """
    told = {answer.address.host: answer for answer in apart if answer.status == HTTPStatus.OK}
    return [told.get(answer.address.host, answer) for answer in public]


def _limits_of(answer: Answer) -> GatewayLimits:
    ok: bool | None = None
    digest: str | None = None
    for name, labels, value in samples_of(answer):
        if name == _OK:
            ok = value == 1
        elif name == _DIGEST and value == 1:
            digest = labels.get("sha256")
    return GatewayLimits(address=str(answer.address), ok=ok, digest=digest)

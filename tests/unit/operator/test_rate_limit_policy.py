"""What gateways say of their limits, wherever they say it."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.kind_bench import NAMESPACE, KindBench
from tradeflow_operator.clients.kubernetes import KubernetesClient
from tradeflow_operator.clients.owned_objects import OwnedObjects
from tradeflow_operator.clients.service_addresses import Address, Answer, ServiceAddresses
from tradeflow_operator.handlers.rate_limit_policy import RateLimitPolicyKind

APART, PUBLIC = ("gateway-metrics", "metrics"), ("gateway", "http")

A_LIMIT = {"name": "orders", "per": "user", "limit": 5, "windowSeconds": 60}

AWAY, NOT_FOUND = (0, ""), (404, "")

Page = tuple[int, str]
"""A status and a text."""


class Gateways(ServiceAddresses):
    """Processes in memory: what each says, by Service, port and host."""

    def __init__(self, kubernetes: KubernetesClient, pages: Mapping[tuple[str, str], Mapping[str, Page]]) -> None:
        super().__init__(kubernetes)
        self._pages = pages

    async def ask(self, namespace: str, service: str, port: str | int, path: str) -> list[Answer]:
        assert (namespace, path) == (NAMESPACE, "/metrics")
        pages = self._pages.get((service, str(port)), {})
        return [
            Answer(address=Address(host=host, port=1, ready=True), status=status, text=text)
            for host, (status, text) in pages.items()
        ]


def page(digest: str) -> Page:
    return 200, (
        f'tradeflow_gateway_rate_limits_file_ok 1.0\ntradeflow_gateway_rate_limits_file_info{{sha256="{digest}"}} 1.0\n'
    )


async def enforced(pages: Mapping[tuple[str, str], Mapping[str, Any]]) -> tuple[str, str]:
    """Visit a policy before gateways that say `True` of its own limits and `False` of others; return its condition."""
    said: dict[tuple[str, str], dict[str, Page]] = {}
    bench = KindBench(lambda kubernetes: RateLimitPolicyKind(OwnedObjects(kubernetes), Gateways(kubernetes, said)))
    bench.create("limits", limits=[A_LIMIT], gateway={"service": "gateway"})
    await bench.visit("limits")
    digest = str(bench.status("limits")["digest"])
    for place, answers in pages.items():
        said[place] = {
            host: page(digest if answer else "older") if isinstance(answer, bool) else answer
            for host, answer in answers.items()
        }
    await bench.visit("limits")
    return bench.condition("limits", "Enforced")


@pytest.mark.parametrize(
    "pages",
    [
        {PUBLIC: {"10.0.0.1": True}},
        {APART: {"10.0.0.1": True}, PUBLIC: {"10.0.0.1": NOT_FOUND}},
        # A version rolls out: the first one is new, the second listens at no port of its own for metrics.
        {APART: {"10.0.0.1": True, "10.0.0.2": AWAY}, PUBLIC: {"10.0.0.1": NOT_FOUND, "10.0.0.2": True}},
    ],
    ids=["by the public port", "by a port of their own", "either way"],
)
async def test_limits_hold_once_each_gateway_says_so_wherever_it_says_it(pages: dict[Any, Any]) -> None:
    assert await enforced(pages) == ("True", "Enforced")


@pytest.mark.parametrize(
    "pages",
    [
        {PUBLIC: {"10.0.0.1": True, "10.0.0.2": False}},
        {APART: {"10.0.0.1": False}, PUBLIC: {"10.0.0.1": NOT_FOUND}},
        {APART: {"10.0.0.1": True}, PUBLIC: {"10.0.0.1": NOT_FOUND, "10.0.0.2": NOT_FOUND}},
        {APART: {"10.0.0.1": AWAY}, PUBLIC: {"10.0.0.1": NOT_FOUND}},
    ],
)
async def test_a_gateway_that_does_not_say_so_is_behind(pages: dict[Any, Any]) -> None:
    assert await enforced(pages) == ("False", "GatewaysBehind")

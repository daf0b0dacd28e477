"""Who is let in at which port, beside the neighbours of the flow."""

from typing import Any

import pytest

from tests.charts.chart_values import NEEDED
from tests.support.helm import Manifest, one, render

pytestmark = [pytest.mark.part("helm")]

OPERATOR = {
    "namespaceSelector": {},
    "podSelector": {"matchLabels": {"app.kubernetes.io/component": "tradeflow-operator"}},
}

TEAM = [{"namespaceSelector": {"matchLabels": {"team": "sre"}}}]

ANYBODY: list[Manifest] = []

ROUTE = {"enabled": True, "parentRefs": [{"name": "public"}]}


def let_in(service: str, **values: Any) -> list[tuple[str, list[Manifest]]]:
    """List the ports that are open, each with whom it is open to."""
    policy = one(render(service, {**NEEDED[service], **values}), "NetworkPolicy")
    return [(port["port"], rule.get("from", [])) for rule in policy["spec"]["ingress"] for port in rule["ports"]]


@pytest.mark.parametrize("service", ["ledger", "gateway"])
def test_the_operator_is_let_in_whoever_else_reads_metrics(service: str) -> None:
    for readers in (TEAM, []):
        assert ("http", [OPERATOR]) in let_in(service, networkPolicy={"metricsFrom": readers})


def test_orders_which_the_operator_never_asks_is_open_to_no_pod_that_calls_itself_one() -> None:
    opened = let_in("orders", networkPolicy={"metricsFrom": []})

    assert [peers for _, peers in opened if any("namespaceSelector" in peer for peer in peers)] == []


def test_the_gateways_metrics_are_for_those_who_are_named_whoever_comes_to_the_public_port() -> None:
    opened = let_in("gateway", networkPolicy={"metricsFrom": TEAM})

    assert [peers for port, peers in opened if port == "metrics"] == [[OPERATOR], TEAM]
    assert ("http", ANYBODY) in opened
    assert ("http", TEAM) not in opened


@pytest.mark.parametrize("service", ["ledger", "orders"])
@pytest.mark.parametrize(("route", "port"), [("httpRoute", "http"), ("grpcRoute", "grpc")])
def test_who_comes_by_a_route_is_let_in_at_its_port_alone(service: str, route: str, port: str) -> None:
    routed = {route: ROUTE}
    opened = [each for each in let_in(service, **routed) if each not in let_in(service)]
    opened_to_some = [
        each for each in let_in(service, **routed, networkPolicy={"ingressFrom": TEAM}) if each not in let_in(service)
    ]

    assert opened == [(port, ANYBODY)]
    assert opened_to_some == [(port, TEAM)]


@pytest.mark.parametrize("service", ["ledger", "orders"])
def test_without_a_route_nobody_is_let_in_by_it(service: str) -> None:
    assert let_in(service, networkPolicy={"ingressFrom": TEAM}) == let_in(service)
    assert ANYBODY not in [peers for _, peers in let_in(service)]


@pytest.mark.parametrize("service", ["ledger", "orders"])
def test_metrics_and_probes_are_on_no_route_unless_somebody_says_so(service: str) -> None:
    [rule] = one(render(service, {**NEEDED[service], "httpRoute": ROUTE}), "HTTPRoute")["spec"]["rules"]

    assert {match["path"]["value"] for match in rule["matches"]} == {"/api", "/schema"}

"""Which quotas a call falls under, and how their state is told."""

from ipaddress import ip_network
from typing import Any

import pytest

from services.gateway.inbound.client_address import client_address, quota_address
from services.gateway.rate_policies import (
    Call,
    Quota,
    QuotaState,
    RatePolicy,
    limit_header,
    policy_header,
    quotas_of,
    whole_seconds,
)

READS = RatePolicy(name="reads", route_class="read", per="user", limit=100, window_seconds=60)
SIGN_IN = RatePolicy(name="sign-in", route_class="auth", per="ip", limit=10, window_seconds=60)
ADDRESS = RatePolicy(name="address", route_class="any", per="ip", limit=1000, window_seconds=60)
POLICIES = (READS, SIGN_IN, ADDRESS)


def names(**call: Any) -> list[str]:
    return [quota.name for quota in quotas_of(POLICIES, Call(**{"path": "/api/v1/orders", **call}))]


def test_a_call_falls_under_the_policies_of_its_class_and_of_any() -> None:
    assert names(route_class="read", user_id="anne", address="1.2.3.4") == ["reads:anne", "address:1.2.3.4"]
    assert names(route_class="auth", user_id=None, address="1.2.3.4") == ["sign-in:1.2.3.4", "address:1.2.3.4"]
    assert names(route_class="write", user_id="anne", address="1.2.3.4") == ["address:1.2.3.4"]


def test_a_call_of_nobody_is_counted_by_its_address_only() -> None:
    assert names(route_class="read", user_id=None, address="1.2.3.4") == ["address:1.2.3.4"]


def test_a_call_whose_address_was_counted_is_counted_by_its_user_only() -> None:
    assert names(route_class="read", user_id="anne", address=None) == ["reads:anne"]


def a_policy(**changes: Any) -> RatePolicy:
    return RatePolicy(**{"name": "p", "route_class": "any", "per": "user", "limit": 1, "window_seconds": 1, **changes})


@pytest.mark.parametrize(
    ("path", "is_covered"),
    [
        ("/api/v1/orders", True),
        ("/api/v1/orders/1/cancel", True),
        ("/api/v1/orders-of-others", False),
        ("/api/v1", False),
    ],
)
def test_a_policy_with_paths_covers_them_and_what_lies_below(path: str, *, is_covered: bool) -> None:
    policies = [a_policy(paths=("/api/v1/orders",)), a_policy(paths=("/api/v1/orders/",))]
    call = Call(route_class="write", path=path, user_id="anne")

    assert policies[0].covers(call) == is_covered
    assert policies[1].covers(call) == (is_covered and path != "/api/v1/orders")


def test_a_policy_with_roles_covers_who_has_one_of_them() -> None:
    policy = a_policy(roles=("merchant", "operator"))
    calls = [
        Call(route_class="read", path="/", user_id="anne", roles=frozenset(roles))
        for roles in (["merchant", "buyer"], ["buyer"], [])
    ]

    assert [policy.covers(call) for call in calls] == [True, False, False]


def test_the_headers_name_each_policy_with_its_quota_and_what_is_left() -> None:
    states = [
        QuotaState(
            quota=Quota(policy=policy, caller="x"),
            allowed=True,
            remaining=9,
            reset_seconds=1.2,
            retry_after_seconds=0,
        )
        for policy in (READS, ADDRESS)
    ]

    assert policy_header(states) == '"reads";q=100;w=60, "address";q=1000;w=60'
    assert limit_header(states) == '"reads";r=9;t=2, "address";r=9;t=2'


def test_waiting_times_are_rounded_up() -> None:
    assert [whole_seconds(seconds) for seconds in (0.0, 0.1, 1.0, 1.01)] == [0, 1, 1, 2]


def test_an_ipv6_customer_is_one_caller_however_many_addresses_it_has() -> None:
    assert quota_address("2001:db8:1:2::1") == quota_address("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert quota_address("203.0.113.9") == "203.0.113.9"


def scope(peer: str | None, *forwarded: str) -> Any:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"client": None if peer is None else (peer, 1234), "headers": headers}


TRUSTED = [ip_network("10.0.0.0/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1:4711, 10.0.0.2:80"], "198.51.100.1"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1"], "unknown"),
    ],
)
def test_only_trusted_proxies_tell_of_other_addresses(peer: str | None, forwarded: list[str], address: str) -> None:
    assert client_address(scope(peer, *forwarded), TRUSTED) == address

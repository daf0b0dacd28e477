"""Values that the charts need, and values that switch everything on."""

from typing import Any

SERVICES = ("ledger", "orders", "gateway")

NEEDED: dict[str, dict[str, Any]] = {
    "ledger": {
        "issuer": "https://shop.example",
        "database": {"existingSecret": "ledger-database"},
        "broker": {"existingSecret": "kafka"},
    },
    "orders": {
        "issuer": "https://shop.example",
        "database": {"existingSecret": "orders-database"},
        "broker": {"existingSecret": "kafka"},
        "client": {"existingSecret": "clients"},
    },
    "gateway": {
        "issuer": "https://shop.example",
        "broker": {"existingSecret": "kafka"},
        "redis": {"existingSecret": "redis"},
        "keys": {"existingSecret": "signing-keys"},
        "clients": {"existingSecret": "clients"},
    },
    # The kinds are looked at in tests of their own.
    "tradeflow-operator": {"crds": {"enabled": False}},
    "tradeflow-dev": {},
    "tradeflow": {
        "global": {"tradeflow": {"issuer": "https://shop.example", "broker": {"url": "kafka://kafka:9092"}}},
        "ledger": {"database": {"existingSecret": "ledger-database"}},
        "orders": {"database": {"existingSecret": "orders-database"}},
        "gateway": {"redis": {"url": "redis://redis:6379/0"}},
    },
}
"""By chart: no more than what it can't do without."""

_ROUTE = {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["shop.example"]}

EVERYTHING: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "httpRoute": _ROUTE,
    "grpcTls": {"existingSecret": "tls", "mutual": True},
    "image": {"digest": f"sha256:{'a' * 64}"},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "tracesUrl": "zipkin+http://zipkin:9411/api/v2/spans",
}
"""What a service can have beside what it needs."""


def everything_of(service: str) -> dict[str, Any]:
    """Return values of a service that switch all of it on, but for KEDA, which excludes the other scaler."""
    route = {} if service == "gateway" else {"grpcRoute": _ROUTE}
    return {**NEEDED[service], **EVERYTHING, **route}

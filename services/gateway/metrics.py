"""What the gateway counts besides requests."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

TRANSPORTS = ("websocket", "sse")
"""How clients hear of wallet events."""

REDIS_BUCKETS_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""A call's buckets: from a command on the same machine to the deadline."""


class GatewayMetrics:
    """Connections, events, limits and failures of the parts behind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.connections = Gauge(
            "tradeflow_gateway_connections", "Open connections for wallet events", ("transport",), registry=registry
        )
        for transport in TRANSPORTS:
            self.connections.labels(transport)
        self.endings = Counter(
            "tradeflow_gateway_connection_endings", "Connections that we ended", ("reason",), registry=registry
        )
        self.wallet_events = Counter(
            "tradeflow_gateway_wallet_events", "Wallet events read from the topic", registry=registry
        )
        self.malformed_events = Counter(
            "tradeflow_gateway_malformed_events", "Messages of the topic that are no wallet events", registry=registry
        )
        self.history_failures = Counter(
            "tradeflow_gateway_history_failures", "Events that Redis's history did not get", registry=registry
        )
        self.rate_limited = Counter(
            "tradeflow_gateway_rate_limited", "Calls refused with 429", ("policy",), registry=registry
        )
        self.rate_would_limit = Counter(
            "tradeflow_gateway_rate_would_limit",
            "Calls that a limit in a dry run would have refused",
            ("policy",),
            registry=registry,
        )
        self.rate_unknown = Counter(
            "tradeflow_gateway_rate_unknown", "Calls that could not be counted", ("mode",), registry=registry
        )
        self.upstream_failures = Counter(
            "tradeflow_gateway_upstream_failures", "Proxied calls without an answer", ("reason",), registry=registry
        )


class RedisMetrics:
    """How Redis answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.duration_seconds = Histogram(
            "tradeflow_redis_call_duration_seconds",
            "Time of a call on Redis by its end: ok, refused by Redis, or failed",
            ("outcome",),
            buckets=REDIS_BUCKETS_SECONDS,
            registry=registry,
        )
        self.skipped = Counter(
            "tradeflow_redis_calls_skipped", "Calls that weren't made, since one just failed", registry=registry
        )
        self.up = Gauge("tradeflow_redis_up", "1 when the last call on Redis was answered, else 0", registry=registry)
        self.up.set(1)

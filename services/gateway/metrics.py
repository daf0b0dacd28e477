"""What the gateway counts besides requests."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class GatewayMetrics:
    """Connections, events, limits and failures of the parts behind."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.connections = Gauge(
            "tradeflow_gateway_connections", "Open connections for wallet events", ("transport",), registry=registry
        )
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
        self.rate_unknown = Counter(
            "tradeflow_gateway_rate_unknown", "Calls that could not be counted", ("mode",), registry=registry
        )
        self.upstream_failures = Counter(
            "tradeflow_gateway_upstream_failures", "Proxied calls without an answer", ("reason",), registry=registry
        )

"""What orders counts besides requests."""

from collections.abc import Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.orders.domain.order_state import OrderState
from services.orders.use_cases.deliver_webhooks import Delivered


class OrdersMetrics:
    """How orders move, and how far behind those are who look after them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self._changes = Counter(
            "tradeflow_orders_state_changes", "Orders that came into a state", ("state",), registry=registry
        )
        self.due = Gauge(
            "tradeflow_orders_due", "Orders that somebody should have looked after by now", registry=registry
        )
        self.due_lag_seconds = Gauge(
            "tradeflow_orders_due_lag_seconds", "For how long the oldest of them has been due", registry=registry
        )
        self.keys_forgotten = Counter(
            "tradeflow_orders_request_keys_forgotten", "Keys of old requests that were deleted", registry=registry
        )
        for state in OrderState:
            self._changes.labels(state.value)

    def count_changes(self, states: Iterable[OrderState]) -> None:
        """Count what a transaction committed."""
        for state in states:
            self._changes.labels(state.value).inc()


class ResetMetrics:
    """How tokens for new passwords get to who asked for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self._resets = Counter(
            "tradeflow_orders_password_resets",
            "Tokens for new passwords that were handed to their delivery, or could not be",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("delivered", "failed"):
            self._resets.labels(outcome)

    def count(self, outcome: Literal["delivered", "failed"]) -> None:
        """Count one."""
        self._resets.labels(outcome).inc()


class WebhookMetrics:
    """How webhooks get to merchants."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.waiting = Gauge(
            "tradeflow_webhooks_waiting", "Webhook deliveries that haven't succeeded yet", registry=registry
        )
        self.lag_seconds = Gauge("tradeflow_webhooks_lag_seconds", "Age of the oldest of them", registry=registry)
        self.dead = Gauge(
            "tradeflow_webhooks_dead", "Webhook deliveries of the last week that were given up", registry=registry
        )
        self._attempts = Counter(
            "tradeflow_webhooks_attempts", "Attempts to deliver a webhook", ("outcome",), registry=registry
        )
        for outcome in ("delivered", "failed"):
            self._attempts.labels(outcome)

    def count(self, delivered: Delivered) -> None:
        """Count a pass."""
        self._attempts.labels("delivered").inc(delivered.delivered)
        self._attempts.labels("failed").inc(delivered.failed)

"""What the committer counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_DURATION_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class CommitterMetrics:
    """How full the batches are, how long they take, how they end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.batch_commands = Histogram(
            "tradeflow_ledger_batch_commands", "Commands of a batch", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.batch_seconds = Histogram(
            "tradeflow_ledger_batch_duration_seconds",
            "Time from a batch's first statement to its replies, repetitions included",
            buckets=_DURATION_BUCKETS_SECONDS,
            registry=registry,
        )
        self.commands = Counter(
            "tradeflow_ledger_commands",
            "Commands by their end: accepted, replayed, refused, failed",
            ("outcome",),
            registry=registry,
        )
        self.retries = Counter("tradeflow_ledger_batch_retries", "Repetitions of batches", registry=registry)
        self.waiting = Gauge("tradeflow_ledger_commands_waiting", "Commands that wait for a batch", registry=registry)

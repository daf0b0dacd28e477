"""What the committer counts."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.ledger.committer.waiting_room import Reply
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import RejectedError

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_DURATION_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class CommitterMetrics:
    """How full the batches are, how long they take, how they end; all of it counted once a batch."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.batch_commands = Histogram(
            "tradeflow_ledger_batch_commands", "Commands of a batch", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.batch_seconds = Histogram(
            "tradeflow_ledger_batch_duration_seconds",
            "Time from taking a batch's commands to its replies, repetitions included",
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
        self.ahead = Counter(
            "tradeflow_ledger_batches_ahead",
            "Batches decided ahead of the book's lock: kept, or missed because the book or a key was not as assumed",
            ("outcome",),
            registry=registry,
        )
        self.waiting = Gauge("tradeflow_ledger_commands_waiting", "Commands that wait for a batch", registry=registry)
        self.leader = Gauge(
            "tradeflow_ledger_leader", "1 in the process that holds the book's lease, else 0", registry=registry
        )

    def count_replies(self, replies: Sequence[Reply]) -> None:
        """Count the ends of a batch's commands."""
        accepted = replayed = refused = 0
        for reply in replies:
            if isinstance(reply, Receipt):
                if reply.replayed:
                    replayed += 1
                else:
                    accepted += 1
            elif isinstance(reply, RejectedError):
                refused += 1
        failed = len(replies) - accepted - replayed - refused
        counts = {"accepted": accepted, "replayed": replayed, "refused": refused, "failed": failed}
        for outcome, count in counts.items():
            if count:
                self.commands.labels(outcome).inc(count)

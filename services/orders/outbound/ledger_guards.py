"""What keeps a ledger that is slow or gone from taking orders down with it: places for few, and a circuit."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import grpc
from prometheus_client import CollectorRegistry

from services.runtime.bulkhead import Bulkhead, BulkheadMetrics
from services.runtime.circuit import FAILURES_MAX, OPEN_SECONDS, Circuit, CircuitMetrics, Verdict
from services.runtime.errors import UnavailableError
from tradeflow.ledger.v1.ledger_service_pb2 import ExecuteBatchResponse

TARGET: Final = "ledger"
"""The label of the metrics, and the beginning of the reasons `ledger_unavailable` and `ledger_busy`."""

CALLS_AT_ONCE_MAX: Final = 512
"""How many requests may wait for the ledger: more would only queue there; those above are told to come back."""

FAIR_SHARE: Final = 0.5
"""A deadline that was missed counts when it was at least this part of the usual one: others were the caller's haste."""

CLOCK_SECONDS: Final = 0.001
"""How exactly the event loop keeps a deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerGuards:
    """Stand before the calls of one client."""

    circuit: Circuit
    bulkhead: Bulkhead

    @classmethod
    def make(
        cls,
        registry: CollectorRegistry | None = None,
        *,
        calls_at_once_max: int = CALLS_AT_ONCE_MAX,
        failures_max: int = FAILURES_MAX,
        open_seconds: float = OPEN_SECONDS,
    ) -> Self:
        """Put them up; what they do is shown in `registry`."""
        registry = registry or CollectorRegistry()
        return cls(
            circuit=Circuit(
                TARGET, failures_max=failures_max, open_seconds=open_seconds, metrics=CircuitMetrics(registry)
            ),
            bulkhead=Bulkhead(TARGET, places_max=calls_at_once_max, metrics=BulkheadMetrics(registry)),
        )


def judge_of(timeout_seconds: float, *, usual_seconds: float) -> Callable[[object], Verdict]:
    """Make what tells of a call that begins now whether the ledger is there.

    Args:
        timeout_seconds: The call's deadline.
        usual_seconds: The deadline of calls whose callers have time.
    """
    loop = asyncio.get_running_loop()
    ends_at_seconds = loop.time() + timeout_seconds - CLOCK_SECONDS
    too_late = Verdict.FAILED if timeout_seconds >= usual_seconds * FAIR_SHARE else Verdict.UNKNOWN

    def judge(outcome: object) -> Verdict:
        if isinstance(outcome, asyncio.CancelledError):
            # The callers' own clocks end a call at its deadline too, most often a little before gRPC does.
            return too_late if loop.time() >= ends_at_seconds else Verdict.UNKNOWN
        if isinstance(outcome, UnavailableError):
            return _verdict_on(outcome, too_late)
        if isinstance(outcome, ExecuteBatchResponse) and _nothing_was_possible(outcome):
            return Verdict.UNKNOWN  # it passes most often: a command that never gets through counts, in the end
        return Verdict.ANSWERED

    return judge


def _verdict_on(error: UnavailableError, too_late: Verdict) -> Verdict:
    cause = error.__cause__
    code = cause.code() if isinstance(cause, grpc.aio.AioRpcError) else None
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return too_late
    if code is grpc.StatusCode.UNAVAILABLE:
        # Too much at once passes by itself; to hold everything back for a while would only waste the time.
        return Verdict.ANSWERED if error.reason == f"{TARGET}_busy" else Verdict.FAILED
    return Verdict.UNKNOWN if code in {None, grpc.StatusCode.CANCELLED} else Verdict.ANSWERED


def _nothing_was_possible(response: ExecuteBatchResponse) -> bool:
    """Tell whether no command of a call could be done now: the ledger is there, and its database has no time."""
    return all(outcome.problem.retryable for outcome in response.outcomes)

"""A circuit breaker: who fails again and again is left alone for a while, and callers are told so at once.

    closed ──failures in a row──> open ──after a while──> half open ──the probe is answered──> closed
                                    ^────────────the probe fails──────────┘

purgatory is the state machine. Added here: one probe at a time, calls of an earlier state that come back late and say
nothing any more, calls that say nothing at all (their caller left), the metrics and the log.
"""

import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final, NoReturn, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from purgatory.domain.model import CLOSED, HALF_OPENED, OPENED, Context, OpenedState
from purgatory.typing import StateName

from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

FAILURES_MAX: Final = 3
"""Failures in a row that open the circuit. Each of them stands for a whole deadline, or for several attempts."""

OPEN_SECONDS: Final = 5.0
"""How long an open circuit lets nobody through: a restart takes about as long, and a client's patience does too."""

PROBE_SECONDS: Final = 1.0
"""The hint while a probe is under way: by then it has most likely been answered."""

STATE_NUMBERS: Final[dict[StateName, int]] = {CLOSED: 0, HALF_OPENED: 1, OPENED: 2}
"""How the gauge shows a state."""

Reply = TypeVar("Reply")


class Verdict(Enum):
    """What the end of a call says of its target."""

    ANSWERED = auto()
    """It is there, whatever it said."""

    FAILED = auto()
    """It isn't there, or has no time."""

    UNKNOWN = auto()
    """Nothing: the caller left, or never got that far."""


class CircuitMetrics:
    """Which circuits are open, and how often they changed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the metrics; once for a registry."""
        self.state = Gauge(
            "tradeflow_circuit_state",
            "0 closed, 1 half open, 2 open: calls are refused",
            ("target",),
            registry=registry,
        )
        self.transitions = Counter(
            "tradeflow_circuit_transitions", "Changes of a circuit's state", ("target", "state"), registry=registry
        )
        self.refused = Counter(
            "tradeflow_circuit_refused", "Calls that an open circuit refused", ("target",), registry=registry
        )


class Circuit:
    """Lets calls to one target through, or not."""

    def __init__(
        self,
        target: str,
        *,
        failures_max: int = FAILURES_MAX,
        open_seconds: float = OPEN_SECONDS,
        metrics: CircuitMetrics | None = None,
    ) -> None:
        """Begin closed.

        Args:
            target: Who is called; a word for metrics, the log and the reason `{target}_unavailable`.
            failures_max: Failures in a row that open the circuit.
            open_seconds: How long it then stays open.
            metrics: Where its state is shown.
        """
        self._context = Context(target, failures_max, open_seconds)
        self._generation = 0
        self._is_probing = False
        self._metrics = metrics or CircuitMetrics(CollectorRegistry())
        self._refused = self._metrics.refused.labels(target)
        self._metrics.state.labels(target).set_function(lambda: STATE_NUMBERS[self.state])

    @property
    def state(self) -> StateName:
        """Tell `closed`, `opened`, or `half-opened`: the next call, if there is one, is the probe."""
        return HALF_OPENED if self._context.state == OPENED and self._seconds_open() < 0 else self._context.state

    def check(self) -> None:
        """Refuse at once what `run` would refuse now.

        Raises:
            UnavailableError: `{target}_unavailable`, with the time until the next probe.
        """
        if self.state == OPENED:
            self._refuse(self._seconds_open())
        if self._is_probing:
            self._refuse(PROBE_SECONDS)

    async def run(
        self, call: Callable[[], Awaitable[Reply]], judge: Callable[[Reply | BaseException], Verdict]
    ) -> Reply:
        """Call, unless the circuit is open.

        Args:
            call: The call.
            judge: Tells what its reply, or what it raised, says of the target.

        Raises:
            UnavailableError: As `check`.
        """
        self.check()
        self._half_open_when_due()
        is_probe, generation = self._context.state == HALF_OPENED, self._generation
        self._is_probing = is_probe
        try:
            reply = await call()
        except BaseException as error:
            self._learn(judge(error), generation)
            raise
        else:
            self._learn(judge(reply), generation)
            return reply
        finally:
            if is_probe:
                self._is_probing = False

    def note_failure(self) -> None:
        """Count what failed although its calls were answered, such as work that was put off again and again."""
        self._learn(Verdict.FAILED, self._generation)

    def _half_open_when_due(self) -> None:
        if self._context.state != OPENED:
            return
        try:
            self._context.handle_new_request()
        except OpenedState:  # the machine's clock was set back meanwhile
            self._refuse(self._seconds_open())
        self._note_change()

    def _learn(self, verdict: Verdict, generation: int) -> None:
        if generation != self._generation or verdict is Verdict.UNKNOWN:
            return  # what began before the last change says nothing of now
        before = self._context.state
        if verdict is Verdict.FAILED:
            self._context.handle_exception(UnavailableError("The call failed."))
        else:
            self._context.handle_end_request()
        if self._context.state != before:
            self._note_change()
        self._context.messages.clear()  # they are for stores that several processes share

    def _note_change(self) -> None:
        self._generation += 1
        target, state = self._context.name, self._context.state
        self._metrics.transitions.labels(target, state).inc()
        log = logger.warning if state == OPENED else logger.info
        log("circuit_changed", target=target, state=state)

    def _seconds_open(self) -> float:
        opened_at = self._context.opened_at
        return 0.0 if opened_at is None else opened_at + self._context.ttl - time.time()

    def _refuse(self, seconds: float) -> NoReturn:
        self._refused.inc()
        raise UnavailableError(
            f"The {self._context.name} doesn't answer; calls are held back until it does.",
            reason=f"{self._context.name}_unavailable",
            retry_after_seconds=seconds,
        )

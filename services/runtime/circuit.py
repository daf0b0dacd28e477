"""A circuit breaker: who fails again and again is left alone for a while, and callers are told so at once.

    closed ──failures in a row──> open ──after a while──> half open ──the probe is answered──> closed
                                    ^────────────the probe fails──────────┘

One probe at a time. Calls of an earlier state that come back late say nothing any more, and some calls say nothing at
all: their caller left.
"""

import time
from collections.abc import Awaitable, Callable
from enum import Enum, StrEnum, auto
from typing import Final, NoReturn, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.runtime.errors import UnavailableError

logger = structlog.get_logger(__name__)

FAILURES_MAX: Final = 3
"""Failures in a row that open the circuit. Each of them stands for a whole deadline, or for several attempts."""

OPEN_SECONDS: Final = 5.0
"""How long an open circuit lets nobody through: a restart takes about as long, and a client's patience does too."""

PROBE_SECONDS: Final = 1.0
"""The hint while a probe is under way: by then it has most likely been answered."""

Reply = TypeVar("Reply")


class State(StrEnum):
    """What becomes of the next call."""

    CLOSED = "closed"
    """It is made."""

    HALF_OPENED = "half-opened"
    """It is the probe."""

    OPENED = "opened"
    """It is refused."""


STATE_NUMBERS: Final = {State.CLOSED: 0, State.HALF_OPENED: 1, State.OPENED: 2}
"""How the gauge shows a state."""


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
        self._target = target
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._state = State.CLOSED
        self._failures = 0
        self._opened_at_seconds = 0.0
        self._generation = 0
        self._is_probing = False
        self._metrics = metrics or CircuitMetrics(CollectorRegistry())
        self._refused = self._metrics.refused.labels(target)
        self._metrics.state.labels(target).set_function(lambda: STATE_NUMBERS[self.state])

    @property
    def state(self) -> State:
        """Tell what becomes of a call that comes now."""
        return State.HALF_OPENED if self._state is State.OPENED and self._seconds_open() <= 0 else self._state

    def check(self) -> None:
        """Refuse at once what `run` would refuse now.

        Raises:
            UnavailableError: `{target}_unavailable`, with the time until the next probe.
        """
        if self.state is State.OPENED:
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
        if self._state is not self.state:
            self._become(self.state)
        is_probe, generation = self._state is State.HALF_OPENED, self._generation
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

    def _learn(self, verdict: Verdict, generation: int) -> None:
        if generation != self._generation or verdict is Verdict.UNKNOWN or self._state is State.OPENED:
            return  # what began before the last change says nothing of now
        if verdict is Verdict.ANSWERED:
            self._failures = 0
            if self._state is State.HALF_OPENED:
                self._become(State.CLOSED)
            return
        self._failures += 1
        if self._state is State.HALF_OPENED or self._failures >= self._failures_max:
            self._opened_at_seconds = time.monotonic()
            self._become(State.OPENED)

    def _become(self, state: State) -> None:
        self._state = state
        self._generation += 1
        self._metrics.transitions.labels(self._target, state).inc()
        log = logger.warning if state is State.OPENED else logger.info
        log("circuit_changed", target=self._target, state=state)

    def _seconds_open(self) -> float:
        return self._opened_at_seconds + self._open_seconds - time.monotonic()

    def _refuse(self, seconds: float) -> NoReturn:
        self._refused.inc()
        raise UnavailableError(
            f"The {self._target} doesn't answer; calls are held back until it does.",
            reason=f"{self._target}_unavailable",
            retry_after_seconds=seconds,
        )

"""One trace from a browser's POST to its WebSocket: W3C Trace Context, carried by a context variable.

The way: HTTP header → context → gRPC metadata → context → outbox row → broker header → context. The identity of the
trace travels always; each step is recorded as a span where a recorder is handed in (`span_export` has one).

Source: https://www.w3.org/TR/trace-context/
"""

import random
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import ContextVar, Token
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct

HEADER = "traceparent"
"""The name of the HTTP header, the gRPC metadata and the broker header."""

SAMPLED = 0x01
"""The flag that says that the caller may have recorded this trace."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_ZERO_TRACE_ID = "0" * 32
_ZERO_SPAN_ID = "0" * 16


class TraceContext(Struct, frozen=True, kw_only=True):
    """Which trace this work belongs to, and which step of it asked for it."""

    trace_id: str
    span_id: str
    flags: int = SAMPLED

    @classmethod
    def new(cls) -> Self:
        """Begin a trace."""
        return cls(trace_id=_random_hex(16), span_id=_random_hex(8))

    @classmethod
    def parse(cls, header: str | None) -> Self | None:
        """Read a `traceparent`, or return None when it is absent or not valid.

        Later versions than 00 are read by the fields that version 00 has, as the standard asks; ff is not valid.
        """
        match = _FORM.fullmatch(header.strip()) if header else None
        if match is None:
            return None
        version, trace_id, span_id, flags, rest = match.groups()
        if version == "ff" or (version == "00" and rest) or trace_id == _ZERO_TRACE_ID or span_id == _ZERO_SPAN_ID:
            return None
        return cls(trace_id=trace_id, span_id=span_id, flags=int(flags, 16) & SAMPLED)

    def child(self) -> Self:
        """Return the same trace with a step of its own."""
        return type(self)(trace_id=self.trace_id, span_id=_random_hex(8), flags=self.flags)

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


class StepKind(Enum):
    """What a step is to its neighbours. Source: OpenTelemetry's SpanKind."""

    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class OpenSpan(Protocol):
    """A step that is being recorded."""

    @property
    def trace(self) -> TraceContext:
        """Its identity, which is sent on to the steps after it."""
        ...

    def describe(self, name: str | None, attributes: "Attributes") -> None:
        """Say more of it, or name it better."""
        ...

    def end(self, error: BaseException | None) -> None:
        """Record it, with what ended it."""
        ...


class SpanRecorder(Protocol):
    """Records the steps of one service."""

    def begin(self, name: str, kind: StepKind, parent: TraceContext | None) -> OpenSpan:
        """Begin a step of a trace, or a new trace without a parent."""
        ...


Attributes = dict[str, str | int]
"""What is said of a step, in the names of OpenTelemetry's semantic conventions. No ids of people, no amounts."""


@dataclass(slots=True)
class _Step:
    trace: TraceContext
    span: OpenSpan | None = None
    recorder: SpanRecorder | None = None
    cause: BaseException | None = None


_current: ContextVar[_Step | None] = ContextVar("tradeflow_trace", default=None)


def current_trace() -> TraceContext | None:
    """Tell the trace that the running code belongs to."""
    step = _current.get()
    return None if step is None else step.trace


def current_traceparent() -> str:
    """Tell the `traceparent` to send on, or an empty text outside of any trace."""
    step = _current.get()
    return "" if step is None else str(step.trace)


def describe_step(name: str | None, attributes: Attributes) -> None:
    """Say more of the current step, where it is recorded; None keeps its name."""
    step = _current.get()
    if step is not None and step.span is not None:
        step.span.describe(name, attributes)


def blame_step(cause: BaseException) -> None:
    """Say what ends the current step, where the error that leaves it only carries the news, as gRPC's own does."""
    step = _current.get()
    if step is not None:
        step.cause = cause


def steps_are_recorded() -> bool:
    """Tell whether it is worth preparing steps of the running code's own: mostly nobody collects them."""
    here = _current.get()
    return here is not None and here.recorder is not None


def begin_step(header: str | None, name: str, kind: StepKind = StepKind.SERVER) -> OpenSpan | None:
    """Begin a step of another trace than the running code's: of one that is handled here together with others.

    None without a trace in the header, or where steps aren't recorded. Whoever begins it ends it.
    """
    here = _current.get()
    if not header or here is None or here.recorder is None:
        return None
    parent = TraceContext.parse(header)
    return None if parent is None else here.recorder.begin(name, kind, parent)


def continued_trace(
    header: str | None, name: str = "", *, recorder: SpanRecorder | None = None
) -> AbstractContextManager[TraceContext]:
    """Run the body as a step of the caller's trace, or of a new one when the header is absent or malformed."""
    parent = TraceContext.parse(header)
    if recorder is None:
        return _Inside(_Step(TraceContext.new() if parent is None else parent.child()))
    span = recorder.begin(name, StepKind.SERVER, parent)
    return _Inside(_Step(span.trace, span, recorder))


def within_step(traceparent: str) -> AbstractContextManager[TraceContext | None]:
    """Run the body as a part of the very step that a text of `current_traceparent` names, which somebody else ends.

    For work that is done for several callers at once, each of whom waits inside of a step of its own.
    """
    step = TraceContext.parse(traceparent)
    return nullcontext() if step is None else _Inside(_Step(step))


def traced_call(name: str) -> AbstractContextManager[TraceContext | None]:
    """Run the body, which asks somebody else for something, as a step of its own where steps are recorded."""
    caller = _current.get()
    if caller is None or caller.recorder is None:
        return nullcontext()
    span = caller.recorder.begin(name, StepKind.CLIENT, caller.trace)
    return _Inside(_Step(span.trace, span, caller.recorder))


class _Inside:
    """Makes a step the current one. A class, since every call passes here and a generator costs three times as much."""

    __slots__ = ("_step", "_token")

    def __init__(self, step: _Step) -> None:
        self._step = step

    def __enter__(self) -> TraceContext:
        self._token: Token[_Step | None] = _current.set(self._step)
        return self._step.trace

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A stream that its client left is closed by the event loop, outside of the context it was begun in.
        with suppress(ValueError):
            _current.reset(self._token)
        step = self._step
        if step.span is not None:
            step.span.end(error if step.cause is None else step.cause)


def _random_hex(byte_count: int) -> str:
    """Make random hex digits that are not all zero; they name, and keep nothing secret."""
    while True:
        value = random.getrandbits(8 * byte_count)
        if value:
            return f"{value:0{2 * byte_count}x}"

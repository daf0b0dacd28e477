"""One trace from a browser's POST to its WebSocket: W3C Trace Context, carried by a context variable.

The way: HTTP header → context → gRPC metadata → context → outbox row → broker header → context. Only the identity of
the trace travels here; spans are recorded by an exporter, where there is one.

Source: https://www.w3.org/TR/trace-context/
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

HEADER = "traceparent"
"""The name of the HTTP header, the gRPC metadata and the broker header."""

SAMPLED = 0x01
"""The flag that says that the caller may have recorded this trace."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_ZERO_TRACE_ID = "0" * 32
_ZERO_SPAN_ID = "0" * 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
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


_current: ContextVar[TraceContext | None] = ContextVar("tradeflow_trace", default=None)


def current_trace() -> TraceContext | None:
    """Tell the trace that the running code belongs to."""
    return _current.get()


def current_traceparent() -> str:
    """Tell the `traceparent` to send on, or an empty text outside of any trace."""
    trace = _current.get()
    return "" if trace is None else str(trace)


@contextmanager
def continued_trace(header: str | None) -> Iterator[TraceContext]:
    """Run the body as a step of the caller's trace, or of a new one when the header is absent or malformed."""
    parent = TraceContext.parse(header)
    trace = TraceContext.new() if parent is None else parent.child()
    token = _current.set(trace)
    try:
        yield trace
    finally:
        # A stream that its client left is closed by the event loop, outside of the context it was begun in.
        with suppress(ValueError):
            _current.reset(token)


def _random_hex(byte_count: int) -> str:
    """Make random hex digits that are not all zero."""
    while True:
        value = secrets.token_hex(byte_count)
        if value.strip("0"):
            return value

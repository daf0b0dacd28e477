"""Publishing and handling messages as steps of the traces that they carry."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from services.runtime.broker.port import Message
from services.runtime.tracing import HEADER, SpanRecorder, StepKind, TraceContext

M = TypeVar("M", bound=Message)

_VERBS = {StepKind.PRODUCER: "publish", StepKind.CONSUMER: "process"}
"""The operations' names. Source: OpenTelemetry's semantic conventions for messaging."""


@contextmanager
def recorded_messages(recorder: SpanRecorder | None, kind: StepKind, messages: Sequence[M]) -> Iterator[Sequence[M]]:
    """Record what the body does with the messages, one span for each; it gets them with that span as their parent.

    Messages outside of any trace are passed on as they are.
    """
    if recorder is None:
        yield messages
        return
    spans, continued = [], []
    for message in messages:
        parent = TraceContext.parse(message.headers.get(HEADER))
        if parent is None:
            continued.append(message)
            continue
        span = recorder.begin(f"{_VERBS[kind]} {message.topic}", kind, parent)
        spans.append(span)
        continued.append(replace(message, headers={**message.headers, HEADER: str(span.trace)}))
    error: BaseException | None = None
    try:
        yield continued
    except BaseException as raised:
        error = raised
        raise
    finally:
        for span in spans:
            span.end(error)

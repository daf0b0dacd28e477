"""Spans of one service on their way to Zipkin or to an OpenTelemetry collector.

OpenTelemetry's SDK samples, batches and sends them, in a thread of its own; what can't be sent is dropped, and the
service doesn't notice. Each service has a provider of its own, so that several can live in one process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode

from services.runtime.errors import InvalidArgumentError, RejectedError
from services.runtime.tracing import Attributes, SpanRecorder, StepKind, TraceContext

SEND_EVERY_MILLIS = 1000
"""How long spans wait for company. A collector shows a trace within seconds."""

SEND_SECONDS_MAX = 3
"""How long one sending may take."""

END_SECONDS_MAX = 5.0
"""How long sending what is left may take: it holds up the end of a process, whose stop has a bound. A collector that
hangs would have it take a sending for every few hundred spans that wait."""

SPANS_WAITING_MAX = 8192
"""Spans that wait to be sent; past it they are dropped, so that a collector that is away costs no memory."""

_KINDS = {
    StepKind.SERVER: SpanKind.SERVER,
    StepKind.CLIENT: SpanKind.CLIENT,
    StepKind.PRODUCER: SpanKind.PRODUCER,
    StepKind.CONSUMER: SpanKind.CONSUMER,
}


@contextmanager
def recording_spans(
    service: str, traces_url: str | None, *, sampled_ratio: float = 1.0
) -> Iterator[SpanRecorder | None]:
    """Record a service's spans while the body runs, and send what is left at the end.

    Args:
        service: The name that its spans carry.
        traces_url: `zipkin+http://host:9411/api/v2/spans` or `otlp+http://host:4318/v1/traces` (or https); None
            records nothing.
        sampled_ratio: Which part of the traces that begin here is recorded; a caller's decision is kept.

    Raises:
        InvalidArgumentError: The URL is of another form (`traces_url_malformed`).
    """
    if traces_url is None:
        yield None
        return
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: service}),
        sampler=ParentBased(TraceIdRatioBased(sampled_ratio)),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            _exporter(traces_url), max_queue_size=SPANS_WAITING_MAX, schedule_delay_millis=SEND_EVERY_MILLIS
        )
    )
    try:
        yield OtelRecorder(provider.get_tracer("tradeflow"))
    finally:
        ending = Thread(target=provider.shutdown, name="spans-end", daemon=True)
        ending.start()
        ending.join(END_SECONDS_MAX)


def _exporter(traces_url: str) -> SpanExporter:
    """Load the one exporter that is asked for: each brings a library for HTTP, which every start would pay for."""
    scheme, _, transport = urlsplit(traces_url).scheme.partition("+")
    endpoint = traces_url.removeprefix(f"{scheme}+")
    if transport in {"http", "https"}:
        if scheme == "zipkin":
            from opentelemetry.exporter.zipkin.json import ZipkinExporter  # noqa: PLC0415 - see above

            return ZipkinExporter(endpoint=endpoint, timeout=SEND_SECONDS_MAX)
        if scheme == "otlp":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above

            return OTLPSpanExporter(endpoint=endpoint, timeout=SEND_SECONDS_MAX)
    raise InvalidArgumentError(
        "a traces URL is zipkin+http://host:9411/api/v2/spans or otlp+http://host:4318/v1/traces",
        reason="traces_url_malformed",
    )


class OtelRecorder:
    """Fits `SpanRecorder`."""

    def __init__(self, tracer: otel.Tracer) -> None:
        """Begin spans with a tracer."""
        self._tracer = tracer

    def begin(self, name: str, kind: StepKind, parent: TraceContext | None) -> "OtelSpan":
        """Begin a span; whether it is recorded was decided where the trace began."""
        context = None if parent is None else otel.set_span_in_context(otel.NonRecordingSpan(_span_context(parent)))
        if context is None:
            # The SDK would look for a parent of its own in the running code.
            context = otel.set_span_in_context(otel.INVALID_SPAN)
        return OtelSpan(self._tracer.start_span(name, context, kind=_KINDS[kind]))


class OtelSpan:
    """Fits `OpenSpan`."""

    def __init__(self, span: otel.Span) -> None:
        """Wrap a span."""
        self._span = span
        context = span.get_span_context()
        self.trace = TraceContext(
            trace_id=otel.format_trace_id(context.trace_id),
            span_id=otel.format_span_id(context.span_id),
            flags=int(context.trace_flags),
        )

    def describe(self, name: str | None, attributes: Attributes) -> None:
        """Say more of it."""
        if name is not None:
            self._span.update_name(name)
        self._span.set_attributes(attributes)

    def end(self, error: BaseException | None) -> None:
        """End it; what callers did wrong is no failure of the service."""
        if error is not None and not isinstance(error, RejectedError | GeneratorExit):
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        self._span.end()


def _span_context(trace: TraceContext) -> otel.SpanContext:
    return otel.SpanContext(
        int(trace.trace_id, 16), int(trace.span_id, 16), is_remote=True, trace_flags=otel.TraceFlags(trace.flags)
    )

"""Logs: one JSON object a line on stderr (or readable lines on a console), with the trace id and without secrets.

The standard library's loggers (uvicorn, grpc, httpx) go through the same processors. The module isn't called `logging`,
so that no reader takes it for the standard one.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from services.runtime.build import VERSION
from services.runtime.tracing import current_trace

LogFormat = Literal["json", "console"]

REDACTED = "[redacted]"

SECRET_WORDS = frozenset(
    {
        "apikey",
        "assertion",
        "authorization",
        "cookie",
        "credential",
        "credentials",
        "passwd",
        "password",
        "passwords",
        "secret",
        "secrets",
        "ticket",
        "token",
        "tokens",
    }
)
"""A key with one of these words in it (`client_secret`, `X-User-Authorization`, `accessToken`) loses its value."""

SECRET_PAIRS = frozenset({("api", "key"), ("private", "key")})
"""Words that make a secret together: a key alone is mostly an idempotency key or a topic's."""

WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where the next word of a key such as `accessToken` or `APIKey` begins."""

HARMLESS_KEYS = frozenset({"token_id", "token_type", "token_url"})
"""Keys with a secret's word in them whose values are needed to follow a problem."""

DEPTH_MAX = 6
"""How deep values are searched for secrets; deeper ones are dropped, so that a log line stays bounded."""

SECRET_IN_TEXT = re.compile(
    r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"  # an Authorization header's value
    r"|\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # a JWT
    r"|(?<=://)[^/\s:@]*:(?!\d{1,5}/)[^\s@]+(?=@)"  # a URL's user and password, and not a port and a path
)
"""What looks like a secret inside a sentence."""

QUIET_LOGGERS = ("httpx", "httpcore", "uvicorn", "grpc", "asyncio")
"""Libraries that tell each step; their warnings are enough."""


def configure_logging(*, level: str = "INFO", log_format: LogFormat = "json", service: str = "") -> None:
    """Send all logs of this process to stderr; called once by each process, as early as it can.

    Args:
        level: The least level that is written: DEBUG, INFO, WARNING, ERROR.
        log_format: One JSON object a line, or lines for people.
        service: The name that each line carries.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace,
    ]
    if service:
        shared.append(_service_adder(service))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(log_format, shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _formatter(log_format: LogFormat, shared: list[Processor]) -> structlog.stdlib.ProcessorFormatter:
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if log_format == "console"
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redact,
            last,
        ],
    )


def _to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _service_adder(service: str) -> Processor:
    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        event.setdefault("version", VERSION)
        return event

    return add_service


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the ids of the trace, and of the step of it, that the line belongs to."""
    trace = current_trace()
    if trace is not None:
        event.setdefault("trace_id", trace.trace_id)
        event.setdefault("span_id", trace.span_id)
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of a log line, by the names of its keys and by the look of its texts."""
    return {key: _redacted(key, value, DEPTH_MAX) for key, value in event.items()}


def _redacted(key: object, value: object, depth_left: int) -> object:
    if _names_a_secret(key):
        return REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redacted_inside(value, depth_left - 1) if depth_left else "…"
    return SECRET_IN_TEXT.sub(REDACTED, str(value))


def _redacted_inside(value: Mapping[object, object] | Iterable[object], depth_left: int) -> object:
    if isinstance(value, Mapping):
        return {str(key): _redacted(key, item, depth_left) for key, item in value.items()}
    return [_redacted("", item, depth_left) for item in value]


def _names_a_secret(key: object) -> bool:
    if not isinstance(key, str):
        return False
    name = WORD_BEGINS.sub("_", key).lower().replace("-", "_")
    words = name.split("_")
    has_pair = not SECRET_PAIRS.isdisjoint(pairwise(words))
    return name not in HARMLESS_KEYS and (has_pair or not SECRET_WORDS.isdisjoint(words))

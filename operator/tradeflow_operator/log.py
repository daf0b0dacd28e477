"""Logs: one JSON object a line on stderr, without secrets."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

SECRET_WORDS = frozenset({"password", "secret", "token", "credentials", "authorization", "key", "jaas", "private"})
"""A field whose name has one of these words is never written."""

WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where the next word of a name such as `clientSecret` begins."""

HARMLESS_KEYS = frozenset({"secret_name", "key_id", "kid"})
"""Names of secrets aren't secrets."""

SECRET_IN_TEXT = re.compile(
    r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"
    r"|(?<=://)[^/\s:@]*:[^\s@]+(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?i:\bpassword\s*[=:]\s*)\S+"
)
"""What looks like a secret inside a sentence."""

QUIET_LOGGERS = ("kopf", "kubernetes", "aiohttp.access", "asyncio", "httpx", "httpcore")
"""Libraries that tell each step; their warnings are enough."""


def configure_logging(*, level: str, log_format: Literal["json", "console"]) -> None:
    """Send all logs of this process to stderr; called once, as early as can be."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    last: Processor = (
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
        if log_format == "console"
        else structlog.processors.JSONRenderer(serializer=_to_json)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take secrets out of a log line, by the names of its fields and by the look of its texts."""
    return {name: _redacted(name, value) for name, value in event.items()}


def without_secrets(text: str) -> str:
    """Take out of a sentence what looks like a secret: for what comes from outside and goes into a status."""
    return SECRET_IN_TEXT.sub(REDACTED, text)


def without_secrets_within(value: Any) -> Any:
    """Take out of all texts of a structure what looks like a secret: whatever is told of a resource passes here."""
    if isinstance(value, Mapping):
        return {name: without_secrets_within(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets_within(inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


def _redacted(name: str, value: object) -> object:
    plain = WORD_BEGINS.sub("_", name).lower().replace("-", "_")
    if plain not in HARMLESS_KEYS and not SECRET_WORDS.isdisjoint(plain.split("_")):
        return REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        return {str(inner): _redacted(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item) for item in value]
    return without_secrets(str(value))


def _to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()

"""Values as MySQL's text has them.

A statement is built as a text in which every character is one byte (latin-1), because bytes are then part of it without
any decoding; texts of people are UTF-8 inside it. Safe with utf8mb4, whose multi-byte characters hold no ASCII, and
without NO_BACKSLASH_ESCAPES, which a session asserts.
"""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


def escaped(text: str) -> str:
    """Escape what stands inside of quotes; most texts hold nothing to escape."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return text.replace("'", "''") if "'" in text else text


def byte_text(text: str) -> str:
    """Turn a text into its UTF-8 bytes, a character each."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _of_float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"MySQL has no {value}")
    return repr(value)


def _of_datetime(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("an instant without a time zone; all instants are UTC")
    return f"'{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


_WRITERS: dict[type, Callable[[Any], str]] = {
    int: str,
    type(None): lambda _: "NULL",
    bool: lambda value: "1" if value else "0",
    str: lambda value: f"'{escaped(byte_text(value))}'",
    bytes: lambda value: f"_binary'{escaped(value.decode('latin-1'))}'",
    bytearray: lambda value: f"_binary'{escaped(value.decode('latin-1'))}'",
    memoryview: lambda value: f"_binary'{escaped(bytes(value).decode('latin-1'))}'",
    UUID: lambda value: f"_binary'{escaped(value.bytes.decode('latin-1'))}'",
    float: _of_float,
    Decimal: lambda value: f"{value:f}" if value.is_finite() else _of_float(float(value)),
    datetime: _of_datetime,
    date: lambda value: f"'{value.isoformat()}'",
}


def literal(value: object) -> str:
    """Write a value as a literal of SQL.

    Raises:
        ValueError: MySQL has no such value: not finite, or an instant without a time zone.
        TypeError: A type that no column here has.
    """
    writer = _WRITERS.get(type(value))
    if writer is None:
        # Enums of texts and numbers, and UUIDs of faster libraries, are what they derive from.
        writer = next((write for base, write in _WRITERS.items() if isinstance(value, base)), None)
        if writer is None:
            raise TypeError(f"a value of type {type(value).__name__} can't be an argument")
        base = next(base for base in _WRITERS if isinstance(value, base))
        value = value.value if hasattr(value, "value") and isinstance(value.value, base) else value
        if base is int:
            return str(int(value))  # type: ignore[call-overload] # an int by the look-up above
    return writer(value)

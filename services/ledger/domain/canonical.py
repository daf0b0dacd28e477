"""Bytes that mean one thing only: what fingerprints and hashes are taken of.

Each field is its length (4 bytes, big-endian) and then itself, so that no two lists of fields have the same bytes. The
layout is ours and never changes: no Protobuf, no JSON, whose writers may order or omit as they like.
"""

import struct
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from services.runtime.clock import from_micros, to_micros

Field = int | bytes | str | UUID | datetime | None
"""What has a canonical form. None is told from an empty string by its length word, which no other field has."""

_INTEGER = struct.Struct(">Iq").pack
_LENGTH = struct.Struct(">I").pack
_ABSENT = b"\xff\xff\xff\xff"


def bytes_field(value: bytes | None) -> bytes:
    """Encode bytes, or their absence."""
    return _ABSENT if value is None else _LENGTH(len(value)) + value


def _text_field(value: str) -> bytes:
    content = value.encode()
    return _LENGTH(len(content)) + content


def _uuid_field(value: UUID) -> bytes:
    return _LENGTH(16) + value.bytes


def _instant_field(value: datetime) -> bytes:
    return _INTEGER(8, to_micros(value))


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    int: partial(_INTEGER, 8),
    bool: partial(_INTEGER, 8),
    str: _text_field,
    bytes: bytes_field,
    UUID: _uuid_field,
    datetime: _instant_field,
    type(None): bytes_field,
}


def encode_field(value: Field) -> bytes:
    """Encode one field: integers as 8 bytes, text as UTF-8, UUIDs as 16 bytes, instants as microseconds since 1970."""
    return _ENCODERS[type(value)](value)


def encode_fields(*values: Field) -> bytes:
    """Encode fields one after the other."""
    return b"".join([_ENCODERS[type(value)](value) for value in values])


class FieldReader:
    """Reads back what `encode_fields` wrote, field by field; the reader knows the types.

    Raises:
        ValueError: The bytes are cut or a field has another length than its type.
    """

    def __init__(self, content: bytes) -> None:
        """Start at the first field."""
        self._content = content
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Tell whether all fields were read."""
        return self._at == len(self._content)

    def optional_bytes(self) -> bytes | None:
        """Read a field that may be absent."""
        length = self._content[self._at : self._at + 4]
        self._at += 4
        if length == _ABSENT:
            return None
        end = self._at + int.from_bytes(length, "big")
        if len(length) < 4 or end > len(self._content):  # noqa: PLR2004 - the length word has 4 bytes
            raise ValueError("canonical bytes end inside a field")
        value, self._at = self._content[self._at : end], end
        return value

    def bytes(self) -> bytes:
        """Read bytes."""
        value = self.optional_bytes()
        if value is None:
            raise ValueError("a canonical field is absent")
        return value

    def text(self) -> str:
        """Read UTF-8."""
        return self.bytes().decode()

    def integer(self) -> int:
        """Read an integer."""
        value = self.bytes()
        if len(value) != 8:  # noqa: PLR2004 - integers have 8 bytes
            raise ValueError("a canonical integer has 8 bytes")
        return int.from_bytes(value, "big", signed=True)

    def uuid(self) -> UUID:
        """Read a UUID."""
        return UUID(bytes=self.bytes())

    def optional_uuid(self) -> UUID | None:
        """Read a UUID that may be absent."""
        value = self.optional_bytes()
        return None if value is None else UUID(bytes=value)

    def optional_instant(self) -> datetime | None:
        """Read an instant that may be absent."""
        value = self.optional_bytes()
        return None if value is None else from_micros(int.from_bytes(value, "big", signed=True))

"""Bytes that mean one thing only: what fingerprints and hashes are taken of.

Each field is its length (4 bytes, big-endian) and then itself, so that no two lists of fields have the same bytes. The
layout is ours and never changes: no Protobuf, no JSON, whose writers may order or omit as they like.
"""

import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

Field = int | bytes | str | UUID | datetime | None
"""What has a canonical form. None is told from an empty string by its length word, which no other field has."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INTEGER = struct.Struct(">Iq").pack
_LENGTH = struct.Struct(">I").pack
_ABSENT = b"\xff\xff\xff\xff"


def micros_of(instant: datetime) -> int:
    """Turn an aware instant into microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


def instant_of(micros: int) -> datetime:
    """Turn microseconds since 1970 into an instant in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def encode_field(value: Field) -> bytes:
    """Encode one field: integers as 8 bytes, text as UTF-8, UUIDs as 16 bytes, instants as microseconds since 1970."""
    if isinstance(value, int):
        return _INTEGER(8, value)
    if isinstance(value, str):
        value = value.encode()
    elif isinstance(value, UUID):
        value = value.bytes
    elif isinstance(value, datetime):
        return _INTEGER(8, micros_of(value))
    elif value is None:
        return _ABSENT
    return _LENGTH(len(value)) + value


def encode_fields(*values: Field) -> bytes:
    """Encode fields one after the other."""
    return b"".join([encode_field(value) for value in values])


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
        return None if value is None else instant_of(int.from_bytes(value, "big", signed=True))

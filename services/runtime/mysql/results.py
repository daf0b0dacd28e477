"""Results as the server sends them, decoded.

Source: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from pymysql.constants import FIELD_TYPE

_BINARY_CHARSET = 63
_UUID_BYTES = 16

_LENGTH_NULL = 0xFB
_LENGTH_2 = 0xFC
_LENGTH_3 = 0xFD

MORE_RESULTS = 0x0008
"""Flag of a status: another result follows."""

_MATCHED_ROWS = re.compile(rb": (\d+)")
"""The first number of what the server says about an UPDATE or an INSERT of many rows: matched rows, or records.

The byte before that text is its length, which is a digit, too, where the numbers are long.
"""

COLUMNS_REMEMBERED = 4096
"""Definitions that are remembered: all columns of all our queries. A definition comes with every result."""

Convert = Callable[[bytes], Any]


@dataclass(slots=True)
class Result:
    """What one statement gave."""

    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    affected_rows: int = 0
    matched_rows: int | None = None
    """Rows that an UPDATE found, or an INSERT of several rows got; None where the server didn't say."""
    insert_id: int = 0
    warnings: int = 0
    status: int = 0


def length_encoded(packet: bytes, position: int) -> tuple[int, int]:
    """Read a length-encoded number; return it and the position after it."""
    first = packet[position]
    if first < _LENGTH_NULL:
        return first, position + 1
    size = {_LENGTH_2: 2, _LENGTH_3: 3}.get(first, 8)
    return int.from_bytes(packet[position + 1 : position + 1 + size], "little"), position + 1 + size


def read_ok(packet: bytes) -> Result:
    """Read the result of a statement without rows."""
    affected_rows, position = length_encoded(packet, 1)
    insert_id, position = length_encoded(packet, position)
    matched = _MATCHED_ROWS.search(packet, position + 4)
    return Result(
        affected_rows=affected_rows,
        insert_id=insert_id,
        status=int.from_bytes(packet[position : position + 2], "little"),
        warnings=int.from_bytes(packet[position + 2 : position + 4], "little"),
        matched_rows=int(matched[1]) if matched else None,
    )


@lru_cache(maxsize=COLUMNS_REMEMBERED)
def read_column(packet: bytes) -> tuple[str, Convert | None]:
    """Read a column's definition: its name, and how its values are decoded."""
    position = 0
    texts: list[bytes] = []
    for _ in range(6):
        length, position = length_encoded(packet, position)
        texts.append(packet[position : position + length])
        position += length
    _, position = length_encoded(packet, position)
    charset = int.from_bytes(packet[position : position + 2], "little")
    size = int.from_bytes(packet[position + 2 : position + 6], "little")
    type_, decimals = packet[position + 6], packet[position + 9]
    return texts[4].decode(), _converter(type_, charset, size, decimals)


def _converter(type_: int, charset: int, size: int, decimals: int) -> Convert | None:
    if type_ in _CONVERTERS:
        return _CONVERTERS[type_]
    if type_ == FIELD_TYPE.TINY:
        return _boolean if size == 1 else int
    if type_ == FIELD_TYPE.NEWDECIMAL:
        # A sum of integers is a DECIMAL without decimals.
        return int if decimals == 0 else _decimal
    if charset != _BINARY_CHARSET:
        return bytes.decode
    # See tables.py: 16 bytes of BINARY are a UUID, of VARBINARY are bytes.
    return _uuid if type_ == FIELD_TYPE.STRING and size == _UUID_BYTES else None


def _boolean(value: bytes) -> bool:
    return value != b"0"


def _decimal(value: bytes) -> Decimal:
    return Decimal(value.decode())


def _uuid(value: bytes) -> UUID:
    return UUID(bytes=value)


def _instant(value: bytes) -> datetime:
    return datetime.fromisoformat(value.decode()).replace(tzinfo=UTC)


def _date(value: bytes) -> date:
    return date.fromisoformat(value.decode())


_CONVERTERS: dict[int, Convert] = {
    FIELD_TYPE.SHORT: int,
    FIELD_TYPE.LONG: int,
    FIELD_TYPE.INT24: int,
    FIELD_TYPE.LONGLONG: int,
    FIELD_TYPE.YEAR: int,
    FIELD_TYPE.FLOAT: float,
    FIELD_TYPE.DOUBLE: float,
    FIELD_TYPE.DATETIME: _instant,
    FIELD_TYPE.TIMESTAMP: _instant,
    FIELD_TYPE.DATE: _date,
    FIELD_TYPE.JSON: bytes.decode,
}
"""Of types that have one meaning whatever their size and character set."""


def read_row(packet: bytes, converters: Sequence[Convert | None]) -> tuple[Any, ...]:
    """Read a row of a result."""
    row: list[Any] = []
    position = 0
    for convert in converters:
        length = packet[position]
        position += 1
        if length >= _LENGTH_NULL:
            if length == _LENGTH_NULL:
                row.append(None)
                continue
            length, position = length_encoded(packet, position - 1)
        value = packet[position : position + length]
        position += length
        row.append(convert(value) if convert is not None else value)
    return tuple(row)

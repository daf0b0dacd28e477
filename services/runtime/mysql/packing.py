"""Many rows in one INSERT, in the form that is cheapest to parse.

    INSERT INTO postings (book_id, sequence, amount, hash)
    SELECT 1, SUBSTR(v.p, 1, 8), SUBSTR(v.p, 9, 10), SUBSTR(v.p, 19, 32)
    FROM (VALUES ROW(_binary'…'), ROW(_binary'…'), …) AS v(p)

A literal a row instead of one a column: on the server a fifth less time than plain VALUES, on the client a formatting
call a row. What is the same in all rows stands in the SELECT list once. MySQL only: MariaDB has no VALUES ROW, and of
few rows plain VALUES are cheaper. An UPDATE of several rows joins the table with the same literals: one statement
instead of one a row, and a quarter less of the server than an upsert, which tries to insert first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from services.runtime.mysql.literals import literal
from services.runtime.mysql.statement import InsertOfRow, UpdateOfRow

ROWS_MIN: Final = 32
"""Fewer rows of an INSERT aren't worth it. Measured: the forms cost the same at about 20."""

UPDATED_ROWS_MIN: Final = 4
"""From how many rows on an UPDATE is worth it: the server parses a statement less for each. Measured: at two rows the
forms cost the same, at 32 this one costs a third."""

_OFFSET_DIGITS: Final = 8
"""Digits of a place inside of a packed row: rows are shorter than a packet."""

_BYTES: dict[type, Callable[[Any], bytes]] = {
    bytes: lambda value: value,
    str: lambda value: value.encode(),
    UUID: lambda value: value.bytes,
}
"""How values of a type become bytes."""

_INTEGERS: Final = {int, bool}


@dataclass(frozen=True, slots=True)
class _Column:
    """How a column travels: a format, the values for it, and the expression that cuts it out.

    `width` is 0 for a column whose values differ in length: they stand at the row's end, and the format holds where.
    """

    format: bytes
    width: int
    values: tuple[Sequence[Any], ...]
    expression: str
    tail: Sequence[bytes] | None = None


def pack(insert: InsertOfRow, rows: Sequence[Sequence[object]]) -> bytes | None:
    """Write an INSERT of rows in the packed form; None where a value's type has no place in it."""
    packed = _packed(insert.values, rows)
    if packed is None:
        return None
    expressions, literals = packed
    head = f"{insert.head} SELECT {', '.join(expressions)} FROM "  # noqa: S608 - values are escaped
    tail = insert.packed_tail % dict(zip(insert.columns, expressions, strict=True))
    return b"".join([head.encode("latin-1"), literals, tail.encode("latin-1")])


def pack_update(update: UpdateOfRow, rows: Sequence[Sequence[object]]) -> bytes | None:
    """Write an UPDATE of rows by their keys in the packed form; None where a value's type has no place in it."""
    arguments = [argument for _, argument in (*update.keys, *update.sets)]
    packed = _packed(arguments, rows)
    if packed is None:
        return None
    expressions, literals = packed
    by_argument = dict(zip(arguments, expressions, strict=True))
    keys = [f"t.{column} = {_of_its_type(by_argument[each], rows[0][each])}" for column, each in update.keys]
    sets = [f"t.{column} = {by_argument[each]}" for column, each in update.sets]
    tail = f" STRAIGHT_JOIN {update.table} AS t ON {' AND '.join(keys)} SET {', '.join(sets)}"
    return b"".join([b"UPDATE ", literals, tail.encode("latin-1")])


def _of_its_type(expression: str, value: object) -> str:
    """Compare numbers with numbers: with a text, the server would not look the row up by its key."""
    return f"CAST({expression} AS SIGNED)" if type(value) in _INTEGERS else expression


def _packed(arguments: Sequence[int | str], rows: Sequence[Sequence[object]]) -> tuple[list[str], bytes] | None:
    """Write the arguments of all rows as literals, and an expression for each that cuts it out; texts stay as they are.

    Columns of equal values travel once.
    """
    columns = list(zip(*rows, strict=True))
    expressions: list[str] = []
    packed: list[_Column] = []
    written: list[tuple[tuple[Any, ...], str]] = []
    position = 1
    for argument in arguments:
        if isinstance(argument, str):
            expressions.append(argument)
            continue
        values = columns[argument]
        if values[0] == values[-1] and values.count(values[0]) == len(values) and len(set(map(type, values))) == 1:
            expressions.append(literal(values[0]))
            continue
        equal = next((text for other, text in written if _are_equal(other, values)), None)
        if equal is not None:
            expressions.append(equal)
            continue
        column = _column(values, position)
        if column is None:
            return None
        packed.append(column)
        expressions.append(column.expression)
        written.append((values, column.expression))
        position += column.width
    if not packed:
        return None
    return expressions, _literals(_with_tails(packed, position))


def _are_equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return type(one[0]) is type(other[0]) is int and one[0] == other[0] and one[-1] == other[-1] and one == other


def _literals(texts: list[bytes]) -> bytes:
    body = b"'),ROW(_binary'".join(
        [text.replace(b"\\", b"\\\\").replace(b"'", b"''") if b"\\" in text or b"'" in text else text for text in texts]
    )
    return b"".join([b"(VALUES ROW(_binary'", body, b"')) AS v(p)"])


def _column(values: Sequence[Any], position: int) -> _Column | None:
    types = set(map(type, values))
    if type(None) in types:
        return _nullable(values, types - {type(None)}, position)
    if types <= _INTEGERS:
        return _integers(values, position)
    if len(types) == 1 and types <= _BYTES.keys():
        to_bytes = _BYTES[types.pop()]
        return _bytes([to_bytes(value) for value in values] if to_bytes is not _BYTES[bytes] else values, position)
    return None


def _integers(values: Sequence[int], position: int) -> _Column:
    """Write integers in digits, as many as the longest has; signed where one is negative."""
    smallest, largest = min(values), max(values)
    width = max(len(str(smallest)), len(str(largest)) + (smallest < 0))
    sign = b"+" if smallest < 0 else b""
    return _Column(b"%%%b0%dd" % (sign, width), width, (values,), f"SUBSTR(v.p, {position}, {width})")


def _bytes(values: Sequence[bytes], position: int) -> _Column:
    lengths = set(map(len, values))
    if len(lengths) == 1:
        (width,) = lengths
        return _Column(b"%b", width, (values,), f"SUBSTR(v.p, {position}, {width})")
    place = f"SUBSTR(v.p, {position}, {_OFFSET_DIGITS})"
    length = f"SUBSTR(v.p, {position + _OFFSET_DIGITS}, {_OFFSET_DIGITS})"
    return _Column(
        b"%%0%dd%%0%dd" % (_OFFSET_DIGITS, _OFFSET_DIGITS),
        2 * _OFFSET_DIGITS,
        (),
        f"SUBSTR(v.p, {place}, {length})",
        tail=values,
    )


def _nullable(values: Sequence[Any], types: set[type], position: int) -> _Column | None:
    """Write a digit before the value that tells whether there is one, and anything in the place of what isn't."""
    if types <= _INTEGERS:
        filled = _integers([0 if value is None else value for value in values], position + 1)
    elif len(types) == 1 and types <= _BYTES.keys():
        to_bytes = _BYTES[types.pop()]
        known = [None if value is None else to_bytes(value) for value in values]
        blank = bytes(min(len(value) for value in known if value is not None))
        filled = _bytes([blank if value is None else value for value in known], position + 1)
    else:
        return None
    return _Column(
        b"%d" + filled.format,
        1 + filled.width,
        ([value is not None for value in values], *filled.values),
        f"IF(SUBSTR(v.p, {position}, 1), {filled.expression}, NULL)",
        tail=filled.tail,
    )


def _with_tails(packed: list[_Column], end: int) -> list[bytes]:
    """Write all rows: first what has a fixed place, then what hasn't, found by the places written before."""
    tails = [column.tail for column in packed if column.tail is not None]
    values: list[Sequence[Any]] = []
    places = [end] * len(packed[0].values[0] if packed[0].values else tails[0])
    for column in packed:
        values += column.values
        if column.tail is not None:
            lengths = list(map(len, column.tail))
            values += [places, lengths]
            places = [place + length for place, length in zip(places, lengths, strict=True)]
    row_format = b"".join([column.format for column in packed]) + b"%b" * len(tails)
    return [row_format % row for row in zip(*values, *tails, strict=True)]

"""The port's SQL turned into SQLite's, once for each shape of statement.

Services write one text for all engines (see `port`). Another engine stands beside with a translation of its own; what
only SQLite could run is refused here, before it runs, so that it can't come to light in production.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

IN_VALUES_MAX = 512
"""Values of one `IN ($in)`. Longer lists take several statements; SQLite's own limit is 32,766 parameters."""

ROWS_MAX = 256
"""Rows of one INSERT. Past a few hundred nothing gets faster, and the prepared statement only gets larger."""

PARAMETERS_MAX = 32_766
"""Parameters of one statement. Source: https://www.sqlite.org/limits.html#max_variable_number."""

SHAPES_MAX = 2_048
"""Translated shapes that are kept; services have a few hundred."""

_IN = -1
"""Stands for the values of `$in` in an order of arguments."""

_TOKEN = re.compile(
    r"""
      (?P<quoted> '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ )
    | \$(?P<number> [1-9][0-9]* )
    | (?P<in> \$in\b )
    | (?P<lock> \s+ FOR \s+ UPDATE (?: \s+ (?: SKIP \s+ LOCKED | NOWAIT ) )? \b )
    | (?P<foreign> \? | \bRETURNING\b | \bINSERT\s+(?:OR\s+\w+|IGNORE)\b | \bREPLACE\s+INTO\b | \bON\s+DUPLICATE\b
        | \bON\s+CONFLICT\s+DO\b )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)

_INDEX_OF_TABLE = re.compile(r"(\s*DROP\s+INDEX\s+\S+)\s+ON\s+\S+\s*", re.IGNORECASE)
"""An index is named with its table; on SQLite its own name is enough, and all that is taken."""

_WRITING_WORD = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE)\b", re.IGNORECASE)

_ROW_OF_VALUES = re.compile(r"\bVALUES\s*(\([^()]*\))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A translated statement, and where its placeholders take their values from."""

    text: str
    order: tuple[int, ...]
    in_order: bool

    def bind(self, arguments: Sequence[object], in_: Sequence[object] = ()) -> Sequence[object]:
        """Put the arguments in the order of the placeholders."""
        if self.in_order:
            return arguments
        values: list[object] = []
        for place in self.order:
            if place == _IN:
                values.extend(in_)
            else:
                values.append(arguments[place])
        return values


@lru_cache(maxsize=SHAPES_MAX)
def translate(sql: str, in_count: int = 0) -> Statement:
    """Translate a statement; `$in` becomes `in_count` placeholders.

    Raises:
        ValueError: The statement isn't in the port's dialect.
    """
    order: list[int] = []

    def replace(match: re.Match[str]) -> str:
        if match["quoted"]:
            return match["quoted"]
        if match["number"]:
            order.append(int(match["number"]) - 1)
            return "?"
        if match["in"]:
            return _in_placeholders(sql, in_count, order)
        if match["lock"]:
            # A transaction that writes excludes all others on SQLite: what it reads is locked already.
            return ""
        raise ValueError(f"{match['foreign']!r} isn't in the dialect of services/runtime/database/port.py: {sql}")

    text = _TOKEN.sub(replace, sql)
    if dropped := _INDEX_OF_TABLE.fullmatch(text):
        text = dropped[1]
    return Statement(text, tuple(order), in_order=order == list(range(len(order))))


def _in_placeholders(sql: str, in_count: int, order: list[int]) -> str:
    if not in_count:
        raise ValueError(f"$in has values in fetch_in only: {sql}")
    order.append(_IN)
    return ", ".join(["?"] * in_count)


def padded(values: Sequence[object]) -> list[object]:
    """Repeat the last value up to a power of two, so that lists of any length share a few shapes."""
    size = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (size - len(values))]


@lru_cache(maxsize=SHAPES_MAX)
def translate_rows(sql: str, row_count: int) -> str | None:
    """Translate an INSERT of one row into one of many, or give None when its shape doesn't allow that.

    One statement of 256 rows is one call into SQLite where 256 statements are 256, and each call gives the interpreter
    lock away: with a busy event loop beside it, a thousand rows took 250 ms one by one and 8 ms like this.
    """
    statement = translate(sql)
    row = _ROW_OF_VALUES.search(statement.text)
    if row is None or not statement.in_order or row[1].count("?") != len(statement.order):
        return None
    rows = ", ".join([row[1]] * row_count)
    return f"{statement.text[: row.start(1)]}{rows}{statement.text[row.end(1) :]}"


def row_counts(total: int, parameters_per_row: int) -> list[int]:
    """Split many rows into statements whose sizes are powers of two, largest first, so that shapes are few."""
    largest = min(ROWS_MAX, PARAMETERS_MAX // max(parameters_per_row, 1))
    size = 1 << (largest.bit_length() - 1)
    counts = [size] * (total // size)
    rest = total % size
    counts += [1 << bit for bit in reversed(range(size.bit_length())) if rest >> bit & 1]
    return counts


@lru_cache(maxsize=SHAPES_MAX)
def reads_only(sql: str) -> bool:
    """Tell whether a statement only reads, by its first word; after WITH, by having none that writes."""
    first_word = sql.split(maxsplit=1)[0].upper() if sql.strip() else ""
    if first_word == "WITH":
        return _WRITING_WORD.search(sql) is None
    return first_word in {"SELECT", "PRAGMA", "EXPLAIN"}

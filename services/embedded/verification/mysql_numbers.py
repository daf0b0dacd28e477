"""What can be said of a MySQL or MariaDB database without knowing what it is for.

Each table is read once, in spans of its primary key: one statement over a large table would take longer than a session
waits for an answer.
"""

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from services.embedded.verification.sqlite_files import FRACTION_WORDS, INTEGER_MAX
from services.money import AMOUNT_MINOR_MAX
from services.runtime.database.key_order import behind
from services.runtime.database.port import Connection, Row
from services.runtime.database_opening import open_database

SPAN_ROWS = 20_000
"""Rows of one statement, some hundredths of a second."""

_COLUMNS = """
    SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position
"""

_KEYS = """
    SELECT table_name, column_name FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index
"""

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"

_ROWS = "SELECT table_name, table_rows FROM information_schema.tables WHERE table_schema = DATABASE()"
"""About how many rows each table has; the server guesses."""


@dataclass(slots=True, kw_only=True)
class _Table:
    """What is looked at in one table."""

    name: str
    key: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    """The columns of large numbers, each with the largest that it may have."""
    fractions: list[str] = field(default_factory=list)
    """What is wrong with the table's definition."""


RowsProgress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    """Tell nobody."""


async def odd_numbers_of(
    database_url: str, progress: RowsProgress = _silent, *, larger: Collection[tuple[str, str]] = ()
) -> tuple[int, list[str]]:
    """Look at every large-number column of every table: whole numbers within 2^53 - 1 only.

    Args:
        database_url: Of a database.
        progress: Is told how many rows were looked at, and about how many there are.
        larger: Columns, as (table, column), whose whole numbers may be larger.

    Returns:
        How many columns there are, and what is wrong with them. Instants in microseconds fit too, until the year 2255.
    """
    odd, rows = list[str](), 0
    database = open_database(database_url)
    try:
        async with database.snapshot() as connection:
            tables = await _tables(connection, larger)
            guessed = sum([count or 0 for name, count in await connection.fetch(_ROWS) if tables[name].numbers])
            for table in tables.values():
                odd += table.fractions
                counts = dict.fromkeys(table.numbers, 0)
                async for of_span, odd_of_span in _spans(connection, table):
                    rows += of_span
                    for column, count in zip(table.numbers, odd_of_span, strict=True):
                        counts[column] += count
                    progress(rows, max(rows, guessed))
                odd += [
                    f"{table.name}.{column} has {count} values outside of {table.numbers[column]}"
                    for column, count in counts.items()
                    if count
                ]
    finally:
        await database.close()
    return sum([len(table.numbers) for table in tables.values()]), odd


async def tables_of(database_url: str) -> set[str]:
    """List the tables."""
    database = open_database(database_url)
    try:
        async with database.snapshot() as connection:
            return {table for (table,) in await connection.fetch(_TABLES)}
    finally:
        await database.close()


async def _tables(connection: Connection, larger: Collection[tuple[str, str]]) -> dict[str, _Table]:
    tables: dict[str, _Table] = {}
    for name, column, declared in await connection.fetch(_COLUMNS):
        table, kind = tables.setdefault(name, _Table(name=name)), declared.upper()
        if any(word in kind for word in FRACTION_WORDS):
            table.fractions.append(f"{name}.{column} is declared {kind}")
        if kind == "BIGINT":
            table.numbers[column] = INTEGER_MAX if (name, column) in larger else AMOUNT_MINOR_MAX
    for name, column in await connection.fetch(_KEYS):
        tables[name].key.append(column)
    return tables


async def _spans(connection: Connection, table: _Table) -> AsyncIterator[tuple[int, Row]]:
    """Count the rows of each span of a table, and of each of its columns of numbers those that are out of bounds."""
    if not table.numbers:
        return
    key: Row | None = None
    while True:
        of_span = _of_span(table, is_first=key is None)
        ((rows, *odd),) = await connection.fetch(_count(table, of_span), *(key or ()))
        yield rows, tuple(odd)
        ends = await connection.fetch(_end(table, of_span), *(key or ())) if rows == SPAN_ROWS and table.key else []
        if not ends:
            return
        key = ends[0]


def _of_span(table: _Table, *, is_first: bool) -> str:
    """Write where a table is read on; what has no primary key is read at once."""
    if not table.key:
        return ""
    columns = [f'"{column}"' for column in table.key]
    place = "" if is_first else f" WHERE {behind(columns, first=1)}"
    return f"{place} ORDER BY {', '.join(columns)}"


def _count(table: _Table, of_span: str) -> str:
    columns = ", ".join(f'"{column}"' for column in table.numbers)
    odd = ", ".join(
        f'COUNT(CASE WHEN "{column}" NOT BETWEEN -{size_max} AND {size_max} THEN 1 END)'
        for column, size_max in table.numbers.items()
    )
    limit = f" LIMIT {SPAN_ROWS}" if table.key else ""
    return f'SELECT COUNT(*), {odd} FROM (SELECT {columns} FROM "{table.name}"{of_span}{limit}) AS span'  # noqa: S608 - names from the server's own catalogue


def _end(table: _Table, of_span: str) -> str:
    columns = ", ".join(f'"{column}"' for column in table.key)
    return f'SELECT {columns} FROM "{table.name}"{of_span} LIMIT 1 OFFSET {SPAN_ROWS - 1}'  # noqa: S608 - the same

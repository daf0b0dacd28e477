"""What can be said of a SQLite file without knowing what it is for."""

import asyncio
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from services.money import AMOUNT_MINOR_MAX

DAMAGES_MAX = 10
"""Sentences about one damaged file."""

UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file raises; SQLite's own message may quote the damage, in bytes that are no text."""

INTEGER_MAX = 2**63 - 1
"""The largest that a column keeps."""

FRACTION_WORDS = ("REAL", "FLOA", "DOUB", "DEC", "NUMERIC")
"""Types that would keep parts of a minor unit."""


async def damage_of(file: Path) -> list[str]:
    """Let SQLite check its own structure: pages, rows, indexes."""
    return await asyncio.to_thread(_damage_of, file)


async def odd_numbers_of(file: Path, *, larger: Collection[tuple[str, str]] = ()) -> tuple[int, list[str]]:
    """Look at every large-number column of every table: whole numbers within 2^53 - 1 only.

    Args:
        file: Of a database.
        larger: Columns, as (table, column), whose whole numbers may be larger.

    Returns:
        How many columns there are, and what is wrong with them. Instants in microseconds fit too, until the year 2255.
    """
    return await asyncio.to_thread(_odd_numbers_of, file, larger)


async def tables_of(file: Path) -> set[str]:
    """List the tables."""
    return await asyncio.to_thread(_tables_of, file)


def _damage_of(file: Path) -> list[str]:
    try:
        with closing(_open(file)) as connection:
            rows = connection.execute(f"PRAGMA integrity_check({DAMAGES_MAX})").fetchall()
    except UNREADABLE as error:
        return [f"{file.name} is damaged: {error}"]
    return [f"{file.name} is damaged: {sentence}" for (sentence,) in rows if sentence != "ok"]


def _odd_numbers_of(file: Path, larger: Collection[tuple[str, str]]) -> tuple[int, list[str]]:
    columns, odd = 0, []
    try:
        with closing(_open(file)) as connection:
            for table in sorted(_table_names(connection)):
                numbers: dict[str, int] = {}
                for _, name, declared, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                    if any(word in declared.upper() for word in FRACTION_WORDS):
                        odd.append(f"{table}.{name} is declared {declared.upper()}")
                    if declared.upper() == "BIGINT":
                        numbers[name] = INTEGER_MAX if (table, name) in larger else AMOUNT_MINOR_MAX
                columns += len(numbers)
                odd += _odd_numbers(connection, table, numbers)
    except UNREADABLE as error:
        odd.append(f"{file.name} can't be read: {error}")
    return columns, odd


def _odd_numbers(connection: sqlite3.Connection, table: str, numbers: Mapping[str, int]) -> list[str]:
    """Read a table once, for all of its columns of numbers, each with the largest that it may have."""
    if not numbers:
        return []
    counts = ", ".join(
        f"COUNT(CASE WHEN typeof(\"{name}\") NOT IN ('integer', 'null') OR abs(\"{name}\") > {size_max} THEN 1 END)"
        for name, size_max in numbers.items()
    )
    (found,) = connection.execute(f'SELECT {counts} FROM "{table}"').fetchall()  # noqa: S608 - names from the file's own catalogue
    return [
        f"{table}.{name} has {count} values that are no whole numbers within {size_max}"
        for (name, size_max), count in zip(numbers.items(), found, strict=True)
        if count
    ]


def _tables_of(file: Path) -> set[str]:
    with closing(_open(file)) as connection:
        return _table_names(connection)


def _table_names(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name for (name,) in rows.fetchall()}


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True)

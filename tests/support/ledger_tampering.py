"""Rows of a ledger's database changed behind its back, on any engine."""

import sqlite3
from contextlib import closing
from urllib.parse import urlsplit

import pymysql

from tests.parts.sql_servers import administrator

CHECKS_OF_BALANCES = """
SELECT constraint_name FROM information_schema.table_constraints
WHERE table_schema = DATABASE() AND table_name = 'balances' AND constraint_type = 'CHECK' AND enforced = 'YES'
"""
"""On MySQL, which enforces each by itself."""


def tamper(url: str, sql: str) -> None:
    """Run one statement that changes rows, past all constraints; it must change one at least."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(urlsplit(url).path, isolation_level=None, timeout=20)) as file:
            file.execute("PRAGMA ignore_check_constraints = ON")
            assert file.execute(sql).rowcount > 0
        return
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        _let_anything_pass(cursor)
        assert cursor.execute(sql) > 0


def _let_anything_pass(cursor: pymysql.cursors.Cursor) -> None:
    cursor.execute("SELECT VERSION()")
    if "MariaDB" in str(cursor.fetchone()):
        cursor.execute("SET check_constraint_checks = 0")
        return
    cursor.execute(CHECKS_OF_BALANCES)
    for (name,) in cursor.fetchall():
        cursor.execute(f"ALTER TABLE balances ALTER CHECK {name} NOT ENFORCED")

"""Piccolo's statements and what it reads of their results: it believes that it speaks to PostgreSQL."""

from collections.abc import Sequence
from typing import Any

from services.runtime.mysql.dialect import translate
from services.runtime.mysql.results import Result
from services.runtime.mysql.server import Server
from services.runtime.mysql.session import MysqlSession
from services.runtime.mysql.statement import OnConflict, Statement


def translate_piccolo(sql: str, server: Server) -> Statement:
    """Translate one of Piccolo's statements, whose INSERTs may return columns."""
    return translate(sql, server, returning_allowed=True)


def records(
    statement: Statement, arguments: Sequence[Any], result: Result, session: MysqlSession
) -> list[dict[str, Any]]:
    """Make what Piccolo reads of a result, with what an INSERT returned."""
    if statement.returning is None:
        return [dict(zip(result.columns, row, strict=True)) for row in result.rows]
    if statement.on_conflict is OnConflict.NOTHING and not result.affected_rows:
        return []
    step = session.greeting.auto_increment_step
    return [
        {
            column: result.insert_id + number * step if argument is None else arguments[argument]
            for column, argument in row.items()
        }
        for number, row in enumerate(statement.returning.rows)
    ]

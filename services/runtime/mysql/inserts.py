"""INSERT, in all of its forms: upserts, many rows, and RETURNING where the arguments tell the answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from services.runtime.mysql.refusals import refusal, refuse_order_of_assignments
from services.runtime.mysql.server import Server
from services.runtime.mysql.statement import InsertOfRow, OnConflict, Returning, Statement, template_of, text_of
from services.runtime.mysql.tokens import Kind, Token, closing_bracket, position_of, split_by_commas, words

_NEW_ROW = "excluded"
"""The name of the row that couldn't be inserted. Names of rows are case-sensitive on MySQL, so it is always this."""

NewValue = Callable[[Token], list[Token]]
"""Writes EXCLUDED.x for a form of INSERT."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """An INSERT cut at its clauses."""

    sql: str
    table: Sequence[Token]
    columns: tuple[str, ...]
    head: Sequence[Token]
    source: Sequence[Token]
    target: tuple[str, ...]
    on_conflict: OnConflict
    assignments: Sequence[Token]
    returning: Sequence[Token]

    @property
    def has_values(self) -> bool:
        return self.source[0].word == "VALUES"


def translate_insert(tokens: Sequence[Token], sql: str, server: Server, *, returning_allowed: bool) -> Statement:
    """Translate an INSERT.

    Raises:
        UntranslatableError: Its result can't be told, or it has no equal.
    """
    parts = _take_apart(tokens, sql)
    if parts.returning and not returning_allowed:
        raise refusal("RETURNING", "the caller knows what it inserts", sql)
    named = server is Server.MYSQL
    tail = _upsert(parts, _of_named_row if named else _of_values_function, named_row=named)
    statement = Statement(
        sql=" ".join(sql.split()),
        verb="INSERT",
        template=template_of([*parts.head, *parts.source, *tail]),
        on_conflict=parts.on_conflict,
        returning=_returning(parts) if parts.returning else None,
    )
    return replace(statement, insert=_insert_of_row(parts, tail))


def _take_apart(tokens: Sequence[Token], sql: str) -> _Parts:
    returning_at = position_of(tokens, "RETURNING")
    body = tokens[:returning_at] if returning_at >= 0 else tokens
    returning = tokens[returning_at + 1 :] if returning_at >= 0 else ()
    conflict_at = position_of(body, "ON", "CONFLICT")
    conflict = body[conflict_at + 2 :] if conflict_at >= 0 else ()
    body = body[:conflict_at] if conflict_at >= 0 else body

    begin = next((index for index, token in enumerate(body) if token.word in {"VALUES", "SELECT"}), -1)
    opening = next((index for index, token in enumerate(body[:begin]) if token.text == "("), -1)
    if begin < 0 or opening < 0:
        raise refusal("INSERT", "list the columns, then VALUES or SELECT", sql)
    columns = tuple(part[0].name for part in split_by_commas(body[opening + 1 : closing_bracket(body, opening)]))
    target, on_conflict, assignments = _conflict(conflict, sql)
    return _Parts(
        sql=sql,
        table=body[2:opening],
        columns=columns,
        head=body[:begin],
        source=body[begin:],
        target=target,
        on_conflict=on_conflict,
        assignments=assignments,
        returning=returning,
    )


def _conflict(conflict: Sequence[Token], sql: str) -> tuple[tuple[str, ...], OnConflict, Sequence[Token]]:
    if not conflict:
        return (), OnConflict.FAIL, ()
    if conflict[0].text != "(":
        raise refusal("ON CONFLICT", "name the columns of the table's only unique key: MySQL would take any", sql)
    closing = closing_bracket(conflict, 0)
    target = tuple(part[0].name for part in split_by_commas(conflict[1:closing]))
    conflict = conflict[closing + 1 :]
    action = tuple(token.word for token in conflict[:3])
    if action[:2] == ("DO", "NOTHING") and len(conflict) == len(("DO", "NOTHING")):
        return target, OnConflict.NOTHING, ()
    if action != ("DO", "UPDATE", "SET"):
        raise refusal("ON CONFLICT", "it is followed by (columns) DO NOTHING or DO UPDATE SET …", sql)
    assignments = conflict[3:]
    if position_of(assignments, "WHERE") >= 0:
        raise refusal("DO UPDATE … WHERE", "it has no equal", sql)
    refuse_order_of_assignments(assignments, sql)
    return target, OnConflict.UPDATE, assignments


def _upsert(parts: _Parts, new_value: NewValue, *, named_row: bool) -> list[Token]:
    """Write the clause for a row that exists; DO NOTHING sets a column to itself, which hides no other error."""
    if parts.on_conflict is OnConflict.FAIL:
        return []
    clause = words("ON DUPLICATE KEY UPDATE")
    if parts.on_conflict is OnConflict.NOTHING:
        column = _quoted(parts.target[0])
        return [*clause, *words(f"{column} = {column}")]
    if not parts.has_values:
        raise refusal("INSERT … SELECT … ON CONFLICT DO UPDATE", "read first, then insert the rows", parts.sql)
    if named_row:
        clause = [*words(f"AS {_NEW_ROW}"), *clause]
    for index, assignment in enumerate(split_by_commas(parts.assignments)):
        comma = words(",") if index else []
        clause += [*comma, *_assignment(assignment, parts, new_value)]
    return clause


def _of_named_row(column: Token) -> list[Token]:
    return words(f"{_NEW_ROW}.{_quoted(column.name)}")


def _of_values_function(column: Token) -> list[Token]:
    return words(f"VALUES({_quoted(column.name)})")


def _of_packed_row(column: Token) -> list[Token]:
    return [Token(Kind.PACKED, column.name, spaced=True)]


def _assignment(assignment: Sequence[Token], parts: _Parts, new_value: NewValue) -> list[Token]:
    """Write `column = expression`, with EXCLUDED.x as the server has it and other columns as those of the old row."""
    equals = next(index for index, token in enumerate(assignment) if token.text == "=")
    out = [*words(_quoted(assignment[equals - 1].name)), *words("=")]
    index = equals + 1
    while index < len(assignment):
        token = assignment[index]
        dotted = index + 2 < len(assignment) and assignment[index + 1].text == "."
        if dotted and token.name.upper() == "EXCLUDED":
            out += new_value(assignment[index + 2])
            index += 3
            continue
        old = token.name in parts.columns and not dotted and assignment[index - 1].text != "."
        out += [*parts.table, *words(f".{_quoted(token.name)}")] if old else [token]
        index += 1
    return out


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _insert_of_row(parts: _Parts, tail: Sequence[Token]) -> InsertOfRow | None:
    """Take an INSERT of one row of plain values apart; None where a value is an expression of arguments."""
    if not parts.has_values or parts.returning or template_of(tail).slots:
        return None
    if closing_bracket(parts.source, 1) != len(parts.source) - 1:
        return None
    values: list[int | str] = []
    for item in split_by_commas(parts.source[2:-1]):
        if len(item) == 1 and item[0].kind is Kind.PLACEHOLDER:
            values.append(int(item[0].text[1:]) - 1)
        elif any(token.kind in {Kind.PLACEHOLDER, Kind.IN} for token in item):
            return None
        else:
            values.append(text_of(item))
    return InsertOfRow(
        head=text_of(parts.head),
        columns=parts.columns,
        values=tuple(values),
        tail=_spaced(text_of(tail)),
        packed_tail=_spaced(template_of(_upsert(parts, _of_packed_row, named_row=False)).text),
    )


def _spaced(text: str) -> str:
    return f" {text}" if text else ""


def _returning(parts: _Parts) -> Returning:
    """Tell where each returned column comes from.

    MySQL returns nothing from an INSERT. What it would return is what was inserted, so the arguments tell; a number
    that the server gives is told by the protocol. After ON CONFLICT that holds in two cases only: the row that was
    updated has the returned columns as its key, or there is a single row that was inserted or wasn't.
    """
    wanted = [part[-1].name for part in split_by_commas(parts.returning)]
    rows = tuple(_returned_row(parts, bracket, wanted) for bracket in _brackets(parts))
    if parts.on_conflict is OnConflict.UPDATE and set(parts.target) != set(wanted):
        raise refusal("RETURNING after DO UPDATE", "only the columns of the conflict can be told", parts.sql)
    if parts.on_conflict is OnConflict.NOTHING and len(rows) > 1:
        raise refusal("RETURNING after DO NOTHING", "insert one row at a time: who was there can't be told", parts.sql)
    if parts.on_conflict is not OnConflict.FAIL and any(None in row.values() for row in rows):
        raise refusal("RETURNING after ON CONFLICT", "the number that the server gave can't be told", parts.sql)
    return Returning(rows=rows)


def _brackets(parts: _Parts) -> list[Sequence[Token]]:
    if not parts.has_values:
        raise refusal("RETURNING", "an INSERT of VALUES can tell what it inserts, no other", parts.sql)
    return [bracket[1:-1] for bracket in split_by_commas(parts.source[1:])]


def _returned_row(parts: _Parts, bracket: Sequence[Token], wanted: Sequence[str]) -> dict[str, int | None]:
    values = dict(zip(parts.columns, split_by_commas(bracket), strict=True))
    row: dict[str, int | None] = {}
    for name in wanted:
        value = values.get(name, ())
        if len(value) == 1 and value[0].kind is Kind.PLACEHOLDER:
            row[name] = int(value[0].text[1:]) - 1
        elif len(value) == 1 and value[0].word == "DEFAULT":
            row[name] = None
        else:
            raise refusal(f"RETURNING {name}", "only what an argument gave can be told", parts.sql)
    return row

"""The port's SQL, and Piccolo's, turned into MySQL's and MariaDB's: once for each shape of statement.

Sessions run with ANSI_QUOTES and PIPES_AS_CONCAT, so that identifiers and `||` stay as they are. What has no equal is
refused before it runs.
"""

from collections.abc import Sequence
from functools import lru_cache

from services.runtime.mysql.inserts import translate_insert
from services.runtime.mysql.refusals import assignments_of_update, refusal, refuse_foreign, refuse_order_of_assignments
from services.runtime.mysql.server import Server
from services.runtime.mysql.statement import Statement, template_of
from services.runtime.mysql.tables import translate_definition
from services.runtime.mysql.tokens import Kind, Token, closing_bracket, position_of, tokenize, words
from services.runtime.mysql.updates import update_of_row

SHAPES_MAX = 2_048
"""Translated shapes that are kept; services have a few hundred."""

_ALL_ROWS = "18446744073709551615"
"""LIMIT for an OFFSET without one. Source: MySQL manual, SELECT statement."""

_CAST_TYPES = {
    "TEXT": "CHAR",
    "VARCHAR": "CHAR",
    "INTEGER": "SIGNED",
    "BIGINT": "SIGNED",
    "BLOB": "BINARY",
    "DATE": "DATE",
}

_DEFINITIONS = {"CREATE", "ALTER", "DROP"}

_VERBS = {"SELECT", "WITH", "UPDATE", "DELETE", "EXPLAIN", "SHOW", "SAVEPOINT", "RELEASE", "ROLLBACK"}
"""What else may begin a statement; savepoints are Piccolo's."""


@lru_cache(maxsize=SHAPES_MAX)
def translate(sql: str, server: Server, *, returning_allowed: bool = False) -> Statement:
    """Translate a statement.

    Args:
        sql: In the dialect of `services/runtime/database/port.py`, or as Piccolo writes for PostgreSQL.
        server: Whose dialect to write.
        returning_allowed: Whether an INSERT may have RETURNING, as Piccolo's do.

    Raises:
        UntranslatableError: It has no equal.
        ValueError: It is no SQL.
    """
    tokens = tokenize(sql)
    if tokens and tokens[-1].text == ";":
        tokens.pop()
    if not tokens:
        raise ValueError("an empty statement")
    verb = tokens[0].word
    refuse_foreign(tokens, sql)
    if verb in _DEFINITIONS:
        return translate_definition(tokens, sql, server)
    tokens = _expressions(tokens, sql, server)
    if verb == "INSERT":
        return translate_insert(tokens, sql, server, returning_allowed=returning_allowed)
    if verb not in _VERBS:
        raise refusal(tokens[0].text, "statements begin with SELECT, WITH, INSERT, UPDATE or DELETE", sql)
    if any(token.word == "RETURNING" for token in tokens):
        raise refusal("RETURNING", "only an INSERT's result can be told", sql)
    if verb == "UPDATE":
        refuse_order_of_assignments(assignments_of_update(tokens), sql)
    return Statement(
        sql=" ".join(sql.split()),
        verb=_effective_verb(tokens),
        template=template_of(tokens),
        update=update_of_row(tokens) if verb == "UPDATE" else None,
    )


def _effective_verb(tokens: Sequence[Token]) -> str:
    """Return the verb of a statement, past the WITH that may stand before it."""
    if tokens[0].word != "WITH":
        return tokens[0].word
    return next((verb for verb in ("INSERT", "UPDATE", "DELETE") if position_of(tokens, verb) >= 0), "SELECT")


def _expressions(tokens: list[Token], sql: str, server: Server) -> list[Token]:
    """Translate what may stand anywhere."""
    out: list[Token] = []
    limited = [False]
    for index, token in enumerate(tokens):
        if token.text in {"(", ")"}:
            limited = [*limited, False] if token.text == "(" else limited[:-1] or [False]
        limited[-1] = limited[-1] or token.word == "LIMIT"
        if token.word == "ILIKE":
            out += words("COLLATE utf8mb4_general_ci LIKE")
        elif out and (out[-1].word, token.word) == ("CROSS", "JOIN"):
            # MySQL's own CROSS JOIN leaves the order to the optimizer.
            out[-1:] = words("STRAIGHT_JOIN")
        elif out and (out[-1].word, token.word) == ("INDEXED", "BY"):
            out[-1:] = words("FORCE INDEX")
        elif _names_an_index(tokens, index):
            out += [*words("("), Token(token.kind, token.text, spaced=False), Token(Kind.SYMBOL, ")", spaced=False)]
        elif token.word == "OFFSET" and not limited[-1]:
            out += [*words(f"LIMIT {_ALL_ROWS}"), token]
        elif token.word == "SHARE" and server is Server.MARIADB and tokens[index - 1].word == "FOR":
            out[-1:] = words("LOCK IN SHARE MODE")
        elif token.word == "OF" and server is Server.MARIADB and tokens[index - 1].word in {"UPDATE", "SHARE"}:
            raise refusal("FOR UPDATE OF", "MariaDB locks the rows of all tables of a statement", sql)
        else:
            out.append(token)
    return _casts(out, sql)


def _names_an_index(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether a token is the name after INDEXED BY."""
    return index > 1 and (tokens[index - 2].word, tokens[index - 1].word) == ("INDEXED", "BY")


def _casts(tokens: list[Token], sql: str) -> list[Token]:
    """Name the types of CAST as MySQL does."""
    for index in reversed(range(len(tokens) - 1)):
        if tokens[index].word != "CAST" or tokens[index + 1].text != "(":
            continue
        closing = closing_bracket(tokens, index + 1)
        as_at = position_of(tokens, "AS", start=index + 2)
        type_ = tokens[as_at + 1] if 0 <= as_at < closing - 1 else None
        if type_ is None or type_.word not in _CAST_TYPES:
            raise refusal("CAST", f"to one of {', '.join(_CAST_TYPES)}", sql)
        tokens[as_at + 1] = Token(Kind.WORD, _CAST_TYPES[type_.word], spaced=True)
    return tokens

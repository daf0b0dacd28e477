"""What MySQL can't run, or would run to another result, is refused before it runs."""

from collections.abc import Sequence

from services.runtime.mysql.tokens import Kind, Token, position_of, split_by_commas


class UntranslatableError(ValueError):
    """The statement isn't in the dialect of services/runtime/database/port.py, or has no equal on MySQL."""


_SYMBOLS = {
    "?": "placeholders are $1, $2, …",
    "`": "identifiers stand in double quotes",
    "[": "arrays have no equal",
    "::": "a cast is CAST(x AS type)",
    "==": "equality is =",
    "->": "JSON operators have no equal here",
    "->>": "JSON operators have no equal here",
    "@>": "it has no equal",
    "<@": "it has no equal",
    "/": "integers are divided otherwise by each engine",
    ";": "one statement at a time",
    "\\": "it means nothing outside of quotes",
}

_PHRASES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("ON", "DUPLICATE"), "write ON CONFLICT (…) DO UPDATE SET x = EXCLUDED.x"),
    (("INSERT", "IGNORE"), "write ON CONFLICT (…) DO NOTHING"),
    (("INSERT", "OR"), "write ON CONFLICT (…)"),
    (("REPLACE", "INTO"), "write ON CONFLICT (…) DO UPDATE SET x = EXCLUDED.x"),
    (("DISTINCT", "ON"), "it has no equal"),
    (("FOR", "NO"), "FOR NO KEY UPDATE has no equal; FOR UPDATE locks as much and more"),
    (("FOR", "KEY"), "FOR KEY SHARE has no equal"),
    (("IS", "DISTINCT"), "it has no equal"),
    (("IS", "NOT", "DISTINCT"), "it has no equal"),
    (("LOAD", "DATA"), "rows come from the service"),
)


def refuse_foreign(tokens: Sequence[Token], sql: str) -> None:
    """Refuse what isn't in the dialect.

    Raises:
        UntranslatableError: With what was found and what to write.
    """
    for index, token in enumerate(tokens):
        if token.kind is Kind.SYMBOL and token.text in _SYMBOLS:
            raise refusal(token.text, _SYMBOLS[token.text], sql)
        if token.kind is Kind.WORD:
            for phrase, advice in _PHRASES:
                if phrase[0] == token.word and _follows(tokens, index, phrase):
                    raise refusal(" ".join(phrase), advice, sql)


def refusal(what: str, advice: str, sql: str) -> UntranslatableError:
    """Make the error that names what was found, what to do, and the statement."""
    return UntranslatableError(
        f"{what!r} isn't in the dialect of services/runtime/database/port.py ({advice}): {' '.join(sql.split())}"
    )


def _follows(tokens: Sequence[Token], index: int, phrase: tuple[str, ...]) -> bool:
    return tuple(token.word for token in tokens[index : index + len(phrase)]) == phrase


def refuse_order_of_assignments(assignments: Sequence[Token], sql: str) -> None:
    """Refuse `SET a = …, b = a`: standard SQL reads the old a there, MySQL the new one.

    Raises:
        UntranslatableError: A column is read after the assignment that changed it.
    """
    assigned: set[str] = set()
    for assignment in split_by_commas(assignments):
        equals = next((index for index, token in enumerate(assignment) if token.text == "="), len(assignment))
        for index in range(equals + 1, len(assignment)):
            qualifier = assignment[index - 2].name.upper() if assignment[index - 1].text == "." else ""
            name = assignment[index].name.lower()
            if name in assigned and qualifier != "EXCLUDED" and not _is_qualifier(assignment, index):
                raise refusal(
                    f"{name} read after it is set", "MySQL would read the new value; turn the order round", sql
                )
        if equals:
            assigned.add(assignment[equals - 1].name.lower())


def _is_qualifier(tokens: Sequence[Token], index: int) -> bool:
    return index + 1 < len(tokens) and tokens[index + 1].text in {".", "("}


def assignments_of_update(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return what stands between SET and WHERE."""
    begin = position_of(tokens, "SET")
    end = position_of(tokens, "WHERE")
    return tokens[begin + 1 : end if end >= 0 else len(tokens)]

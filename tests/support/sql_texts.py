"""Every hand-written statement of a service, and what it does to which table."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType

from services.runtime.database.migration_modules import migrations_of
from services.runtime.mysql.tokens import Token, closing_bracket, position_of, split_by_commas, tokenize

_FIRST_WORDS = re.compile(r"\s*(WITH|SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s")

SHARED = ("inbox", "outbox")
"""Modules of the runtime whose names begin so run on a service's tables."""

NOT_THE_SERVICES_OWN = (".migrations", ".proof.book_load", ".proof.book_import")
"""What runs as whoever migrates: `tradeflow ledger import` makes a book."""


@dataclass(frozen=True, slots=True)
class SqlText:
    """A statement, and where it stands."""

    module: str
    name: str
    sql: str


def texts_of(service: str) -> list[SqlText]:
    """Find the statements that a service's own user runs: the constants of its modules."""
    modules = [*_modules(f"services.{service}"), *_modules("services.runtime", SHARED)]
    found = {
        SqlText(module.__name__, name, text)
        for module in modules
        if not any(part in module.__name__ for part in NOT_THE_SERVICES_OWN)
        for name, text in vars(module).items()
        if isinstance(text, str) and _FIRST_WORDS.match(text)
    }
    made = set(tables_of(service))
    return sorted(
        (text for text in found if set(rights_for(text.sql)) <= made), key=lambda text: (text.module, text.name)
    )


def _modules(package: str, beginnings: tuple[str, ...] = ("",)) -> Iterator[ModuleType]:
    for found in walk_packages(import_module(package).__path__, f"{package}."):
        inside = found.name.removeprefix(f"{package}.")
        if inside.startswith(beginnings) and "__main__" not in inside:
            yield import_module(found.name)


def rights_for(sql: str) -> dict[str, set[tuple[str, str]]]:
    """Tell what a statement needs: by table, (SELECT, INSERT, UPDATE or DELETE, the column or nothing)."""
    tokens = tokenize(sql)
    needs: dict[str, set[tuple[str, str]]] = {}
    common = {tokens[at - 1].name for at in range(1, len(tokens)) if _opens_common_table(tokens, at)}
    for at, token in enumerate(tokens[:-1]):
        before, table = tokens[at - 1].word if at else "", tokens[at + 1].name
        if token.word in {"FROM", "JOIN"} and table and table not in common:
            needs.setdefault(table, set()).add(("DELETE" if before == "DELETE" else "SELECT", ""))
        elif token.word == "INTO":
            needs.setdefault(table, set()).update({("INSERT", ""), *_upserted(tokens)})
        elif token.word == "UPDATE" and before not in {"FOR", "DO"}:
            needs.setdefault(table, set()).update(("UPDATE", column) for column in _set_columns(tokens[at:]))
    if tokens[0].word in {"UPDATE", "DELETE"} and position_of(tokens, "WHERE") >= 0:
        # A condition reads.
        needs[next(iter(needs))].add(("SELECT", ""))
    return needs


def _opens_common_table(tokens: list[Token], at: int) -> bool:
    return tokens[at].word == "AS" and tokens[at + 1].text == "("


def _upserted(tokens: list[Token]) -> set[tuple[str, str]]:
    """An upsert, DO NOTHING too, updates; MariaDB asks for the right to all columns that are inserted."""
    if position_of(tokens, "ON", "CONFLICT") < 0:
        return set()
    opening = next(at for at, token in enumerate(tokens) if token.text == "(")
    inserted = split_by_commas(tokens[opening + 1 : closing_bracket(tokens, opening)])
    return {("SELECT", ""), *(("UPDATE", part[0].name) for part in inserted)}


def conflict_target(tokens: list[Token]) -> tuple[str, ...]:
    """Read the columns of ON CONFLICT."""
    at = position_of(tokens, "ON", "CONFLICT")
    if tokens[at + 2].text != "(":
        return ()
    return tuple(part[0].name for part in split_by_commas(tokens[at + 3 : closing_bracket(tokens, at + 2)]))


def _set_columns(tokens: list[Token]) -> set[str]:
    begin, end = position_of(tokens, "SET"), position_of(tokens, "WHERE")
    return {part[0].name for part in split_by_commas(tokens[begin + 1 : end if end >= 0 else len(tokens)])}


def tables_of(service: str) -> Mapping[str, list[tuple[str, ...]]]:
    """Tell which tables a service's migrations make, each with its unique keys, the primary one first."""
    tables: dict[str, list[tuple[str, ...]]] = {}
    for migration in migrations_of(f"services.{service}.migrations"):
        for statement in migration.statements:
            tokens = tokenize(statement)
            words = [token.word for token in tokens[:3]]
            if words[:2] == ["CREATE", "TABLE"]:
                tables[tokens[2].name] = list(_unique_keys(tokens))
            elif words[:2] == ["DROP", "TABLE"]:
                del tables[tokens[2].name]
            elif words == ["CREATE", "UNIQUE", "INDEX"]:
                tables[tokens[5].name].append(tuple(part[0].name for part in split_by_commas(tokens[7:-1])))
    return tables


def _unique_keys(create_table: list[Token]) -> Iterator[tuple[str, ...]]:
    for part in split_by_commas(create_table[4:-1]):
        if part[0].word in {"PRIMARY", "UNIQUE"}:
            opening = next(at for at, token in enumerate(part) if token.text == "(")
            yield tuple(each[0].name for each in split_by_commas(part[opening + 1 : -1]))
        elif position_of(part, "PRIMARY", "KEY") >= 0 or position_of(part, "UNIQUE") >= 0:
            yield (part[0].name,)

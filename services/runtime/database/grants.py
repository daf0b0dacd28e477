"""Who may do what in a service's schema, on a server that knows users: as few rights as each role needs.

A service declares its tables' rights beside its migrations. Rights stand in MySQL's words, with columns where a right
is for some of them. `ON CONFLICT`, DO NOTHING too, asks for UPDATE, on MariaDB for that of all columns that are
inserted: a table that only grows takes a plain INSERT, whose `DuplicateKeyError` says that the row is there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from services.runtime.errors import InvalidArgumentError

Role = Literal["runtime", "migrator", "reader"]
"""The service itself; who runs its migrations; who only looks: verification, exports, people."""

_MIGRATOR = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX"
"""All that migrations, and the import of a book, may take."""

_BOOKKEEPING = ("schema_migrations", "schema_compatibility")
"""What a service reads to know whether its tables are those of its code; see schema_state.py."""

_RIGHT = re.compile(r"(SELECT|INSERT|UPDATE|DELETE)(?: \((\w+(?:, \w+)*)\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRights:
    """What two of the roles may do with a table."""

    runtime: tuple[str, ...]
    reader: tuple[str, ...] = ("SELECT",)


JOURNAL = TableRights(runtime=("SELECT", "INSERT"))
"""What only grows."""


def declared_rights(package: str) -> Mapping[str, TableRights]:
    """Read what a package of migrations declares, by table; those of the migrations' own tables included.

    Raises:
        ValueError: A right is none.
    """
    rights: Mapping[str, TableRights] = import_module(f"{package}.rights").RIGHTS
    for table, of_table in rights.items():
        for right in (*of_table.runtime, *of_table.reader):
            if _RIGHT.fullmatch(right) is None:
                raise ValueError(f"{package}.rights: {right!r} on {table} is no right of a table")
    return {**rights, **dict.fromkeys(_BOOKKEEPING, TableRights(runtime=("SELECT",)))}


def grant_statements(package: str, *, schema: str, user: str, host: str, role: Role) -> list[str]:
    """Write the statements that give a user of MySQL or MariaDB a role in a schema, for whoever administers the server.

    They add rights, and take none away.

    Raises:
        InvalidArgumentError: A name holds what no name holds.
    """
    account = f"{_text(user)}@{_text(host)}"
    if role == "migrator":
        # In the grants of a whole schema these two are wild cards.
        pattern = re.sub(r"([_%])", r"\\\1", schema)
        return [f"GRANT {_MIGRATOR} ON {_identifier(pattern)}.* TO {account};"]
    return [
        f"GRANT {', '.join(map(_right, rights))} ON {_identifier(schema)}.{_identifier(table)} TO {account};"
        for table, of_table in sorted(declared_rights(package).items())
        if (rights := of_table.runtime if role == "runtime" else of_table.reader)
    ]


def _right(right: str) -> str:
    verb, bracket, columns = right.partition(" (")
    if not bracket:
        return verb
    return f"{verb} ({', '.join(map(_identifier, columns.removesuffix(')').split(', ')))})"


def _identifier(name: str) -> str:
    doubled = _checked(name).replace("`", "``")
    return f"`{doubled}`"


def _text(name: str) -> str:
    if "\\" in name:
        raise InvalidArgumentError(f"a user's name and host have no backslash: {name!r}", reason="name_malformed")
    doubled = _checked(name).replace("'", "''")
    return f"'{doubled}'"


def _checked(name: str) -> str:
    if not name or not name.isprintable():
        raise InvalidArgumentError(f"{name!r} can't be a name", reason="name_malformed")
    return name

"""Users of a real server with the rights of one role and no other."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pymysql

from services.runtime.database.grants import Role, grant_statements
from tests.parts.sql_servers import SCHEMA_SECONDS_MAX, administrator

PASSWORD = "p%w"
"""Every such user's; escaped in a URL."""


@contextmanager
def user_with_role(url: str, service: str, role: Role | None) -> Iterator[str]:
    """Make a user with a role in the schema of an administrator's URL, and return the user's own URL."""
    parts = urlsplit(url)
    user = f"{role or 'nobody'}_{uuid4().hex[:12]}"
    statements = []
    if role is not None:
        schema = parts.path.removeprefix("/")
        package = f"services.{service}.migrations"
        statements = grant_statements(package, schema=schema, user=user, host="%", role=role)
    with closing(administrator(url)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER '{user}'@'%%' IDENTIFIED BY %s", (PASSWORD,))
        for statement in statements:
            cursor.execute(statement)
    try:
        yield urlunsplit(parts._replace(netloc=f"{user}:p%25w@{parts.hostname}:{parts.port}"))
    finally:
        with closing(administrator(url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP USER '{user}'@'%'")


def signed_in(url: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    """Connect as such a user, outside of what is tested."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "",
        port=parts.port or 0,
        user=parts.username or "",
        password=PASSWORD,
        database=parts.path.removeprefix("/"),
        connect_timeout=SCHEMA_SECONDS_MAX,
        read_timeout=SCHEMA_SECONDS_MAX,
    )

"""A database by its URL."""

from urllib.parse import unquote

from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import InvalidArgumentError
from services.runtime.mysql.database import MysqlDatabase
from services.runtime.mysql.options import options_of
from services.runtime.url_parts import url_parts


def open_database(url: str) -> SqliteDatabase | MysqlDatabase:
    """Open the database that a URL names.

    `sqlite:////folder/file.db`, or `sqlite:///file.db` in the working folder; or `mysql://user:password@host/name` on
    MySQL or MariaDB, with the options of services/runtime/mysql/options.py.

    Raises:
        InvalidArgumentError: No adapter for this scheme, no file, or an option that doesn't exist.
    """
    scheme = url_parts(url, "database").scheme
    if scheme == "mysql":
        return MysqlDatabase(options_of(url))
    if scheme != "sqlite":
        raise InvalidArgumentError(
            f"a database URL of scheme {scheme!r} isn't supported; supported: sqlite:////path/to/file.db and "
            "mysql://user:password@host:3306/database",
            reason="database_scheme_unsupported",
        )
    return SqliteDatabase(sqlite_path(url, "database"))


def sqlite_path(url: str, purpose: str) -> str:
    """Read the path out of a `sqlite:` URL; `purpose` names in errors what the URL is for."""
    parts = url_parts(url, purpose)
    if parts.scheme != "sqlite":
        # The scheme only: the rest of such a URL may hold a password.
        raise InvalidArgumentError(
            f"a {purpose} URL of scheme {parts.scheme!r} isn't supported; supported: sqlite:////path/to/file.db",
            reason=f"{purpose}_scheme_unsupported",
        )
    path = unquote(parts.path).removeprefix("/")
    if parts.netloc or path in {"", ":memory:"}:
        raise InvalidArgumentError(
            f"a {purpose} URL names a file, and all processes share it: sqlite:////path/to/file.db",
            reason=f"{purpose}_url_malformed",
        )
    return path

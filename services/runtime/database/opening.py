"""A database by its URL."""

from urllib.parse import unquote, urlsplit

from services.runtime.database.port import Database
from services.runtime.database.sqlite import SqliteDatabase
from services.runtime.errors import InvalidArgumentError


def open_database(url: str) -> Database:
    """Open the database that a URL names: `sqlite:////folder/file.db`, or `sqlite:///file.db` in the working folder.

    Raises:
        InvalidArgumentError: No adapter for this scheme, or no file.
    """
    return SqliteDatabase(sqlite_path(url, "database"))


def sqlite_path(url: str, purpose: str) -> str:
    """Read the path out of a `sqlite:` URL; `purpose` names in errors what the URL is for."""
    parts = urlsplit(url)
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

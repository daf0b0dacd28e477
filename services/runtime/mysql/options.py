"""A server's URL: mysql://user:password@host:port/database?option=value."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from services.runtime.errors import InvalidArgumentError

SslMode = Literal["disabled", "required", "verify_ca", "verify_identity"]
"""MySQL's own words: no TLS; any certificate; one of a known authority; and for this host."""

_PORT = 3306


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlOptions:
    """Where the database is, and how to use it. All but the first five are the URL's options."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    unix_socket: str = ""
    """A socket's path, instead of host and port."""
    ssl_mode: str = ""
    """One of `SslMode`; `verify_identity` when `ssl_ca` is given, `disabled` otherwise."""
    ssl_ca: str = ""
    """A file of certificates of authorities; the system's when empty."""
    ssl_cert: str = ""
    """The client's own certificate."""
    ssl_key: str = ""
    """Its key."""
    pool_max: int = 10
    """Connections at once for transactions; who needs one more waits."""
    read_pool_max: int = 10
    """Connections at once, beside them, for what only reads: slow reads never keep a transaction from a connection."""
    acquire_timeout_seconds: float = 10.0
    """How long to wait for a connection before `UnavailableError`."""
    connect_timeout_seconds: float = 5.0
    """How long connecting may take."""
    statement_timeout_seconds: float = 30.0
    """How long a packet of statements may take; then its connection is closed."""
    lock_timeout_seconds: int = 5
    """innodb_lock_wait_timeout: how long to wait for a row that another transaction holds."""
    idle_timeout_seconds: int = 30
    """wait_timeout: the server ends a connection that says nothing for so long, and frees what it locked."""

    def tls(self) -> ssl.SSLContext | None:
        """Make what TLS needs.

        Raises:
            OSError: A file isn't there, or holds something else; it is named.
        """
        mode = self.ssl_mode or ("verify_identity" if self.ssl_ca else "disabled")
        if mode == "disabled":
            return None
        with _naming("ssl_ca", self.ssl_ca):
            context = ssl.create_default_context(cafile=self.ssl_ca or None)
        context.check_hostname = mode == "verify_identity"
        if mode == "required":
            context.verify_mode = ssl.CERT_NONE
        if self.ssl_cert:
            files = [file for file in (self.ssl_cert, self.ssl_key) if file]
            with _naming("ssl_cert or its ssl_key", ", ".join(files)):
                context.load_cert_chain(*files)
        return context


@contextmanager
def _naming(option: str, files: str) -> Iterator[None]:
    """Say of which file it is that it can't be used, which TLS leaves out.

    Raises:
        OSError: It can't.
    """
    try:
        yield
    except OSError as error:
        why = f"the database URL's {option} can't be used: {error.strerror}"
        raise OSError(error.errno, why, files) from error


_OPTION_TYPES = {field.name: field.type for field in fields(MysqlOptions)[5:]}


def options_of(url: str) -> MysqlOptions:
    """Read a URL.

    Raises:
        InvalidArgumentError: It names no database, or an option that doesn't exist. The URL itself, which may hold a
            password, isn't repeated.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError as error:
        raise _malformed("its port isn't a number") from error
    database = unquote(parts.path).removeprefix("/")
    if not database or "/" in database:
        raise _malformed("it names a database: mysql://user:password@host:3306/database")
    given = {name: _option(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    if given.get("ssl_mode", "") not in {"", *get_args(SslMode)}:
        raise _malformed(f"ssl_mode is one of {', '.join(get_args(SslMode))}")
    return MysqlOptions(
        host=parts.hostname or "localhost",
        port=port,
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        database=database,
        **given,  # type: ignore[arg-type] # each of its field's type, by _option
    )


def _option(name: str, value: str) -> str | int | float:
    type_ = _OPTION_TYPES.get(name)
    if type_ is None:
        raise _malformed(f"there is no option {name}; there are {', '.join(sorted(_OPTION_TYPES))}")
    if type_ is str:
        return value
    try:
        number: int | float = int(value) if type_ is int else float(value)
    except ValueError:
        raise _malformed(f"{name} is a number") from None
    if not 0 < number < float("inf"):
        raise _malformed(f"{name} is greater than 0")
    return number


def _malformed(why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"the database URL can't be used: {why}", reason="database_url_malformed")

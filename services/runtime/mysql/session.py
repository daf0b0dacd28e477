"""One open connection, as the adapter uses it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import aiomysql
import structlog
from pymysql.constants import CLIENT
from pymysql.err import OperationalError

from services.runtime.errors import UnavailableError
from services.runtime.mysql.errors import ConnectionLostError, DeadlineError, ServerError
from services.runtime.mysql.options import MysqlOptions
from services.runtime.mysql.results import Result
from services.runtime.mysql.server import Server, UnsupportedServerError, server_of
from services.runtime.mysql.wire import OnResult, Response, Wire

logger = structlog.get_logger(__name__)

SQL_MODE = (
    "ANSI_QUOTES,PIPES_AS_CONCAT,STRICT_TRANS_TABLES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
)
"""Standard quotes, `||` as it should be, and an error instead of a value that was cut."""

_PACKET_SPARE_BYTES = 64 * 1024
"""Kept free of `max_allowed_packet` for BEGIN, COMMIT and the like."""

METADATA_LOCK_SECONDS = 60
"""lock_wait_timeout: how long a statement waits for a definition of its table. The default is a year."""

_SHOW_WARNINGS = b"SHOW WARNINGS"


class _Connection(aiomysql.Connection):  # type: ignore[misc] # aiomysql has no types
    """aiomysql's connection, without its silent fallback to plain text."""

    async def _request_authentication(self) -> None:
        if self._ssl_context and not self.server_capabilities & CLIENT.SSL:
            raise UnsupportedServerError("the server offers no TLS, and the URL asks for it")
        await super()._request_authentication()

    async def open(self) -> asyncio.Transport:
        """Connect and sign in; from then on the transport is the caller's."""
        try:
            await self._connect()
        except BaseException:
            self.close()
            raise
        transport: asyncio.Transport = self._writer.transport
        return transport


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a session learned when it connected."""

    server: Server
    connection_id: int
    packet_bytes_max: int
    auto_increment_step: int


class MysqlSession:
    """A connection that one task uses at a time."""

    def __init__(self, connection: _Connection, wire: Wire, options: MysqlOptions) -> None:
        """Take a connection that is open; see `connect`."""
        self._connection = connection
        self._wire = wire
        self._options = options
        self._turn = asyncio.Lock()
        self._under_way = False
        self.greeting = Greeting(Server.MYSQL, 0, 0, 1)
        self.opened_at = 0.0
        self.idle_since = 0.0
        self._times_used = 0

    @classmethod
    async def connect(cls, options: MysqlOptions) -> Self:
        """Connect, sign in and set the session up.

        Raises:
            ConnectionLostError: There is no server, or it went away.
            ServerError: It has no room.
            UnsupportedServerError: It is too old, or lacks what was asked for.
        """
        connection = _Connection(
            host=options.host,
            port=options.port,
            user=options.user,
            password=options.password,
            db=options.database,
            unix_socket=options.unix_socket or None,
            charset="utf8mb4",
            ssl=options.tls(),
            autocommit=None,
            connect_timeout=options.connect_timeout_seconds,
            program_name="tradeflow",
        )
        try:
            async with asyncio.timeout(options.connect_timeout_seconds):
                session = cls(connection, Wire(await connection.open()), options)
                await session._set_up(server_of(connection.get_server_info()))
        except TimeoutError as error:
            connection.close()
            raise ConnectionLostError(f"no answer from {options.host} in time") from error
        except OperationalError as error:
            # Also what the server says instead of a greeting, such as that it has no room.
            connection.close()
            raise _connection_error(error) from error
        except BaseException:
            connection.close()
            raise
        return session

    async def _set_up(self, server: Server) -> None:
        options = self._options
        response = await self._send(
            b";".join(
                [
                    f"SET NAMES utf8mb4 COLLATE {server.collation}".encode(),
                    b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                    (
                        f"SET autocommit = 1, sql_mode = '{SQL_MODE}', time_zone = '+00:00', sql_notes = 0, "
                        f"lc_messages = 'en_US', innodb_lock_wait_timeout = {options.lock_timeout_seconds}, "
                        f"lock_wait_timeout = {METADATA_LOCK_SECONDS}, wait_timeout = {options.idle_timeout_seconds}"
                    ).encode(),
                    (
                        "SELECT CONNECTION_ID(), @@max_allowed_packet, @@auto_increment_increment, @@sql_mode, "
                        f"@@{server.isolation_variable}"
                    ).encode(),
                ]
            )
        )
        if response.error is not None:
            raise response.error
        ((connection_id, packet_bytes, step, sql_mode, isolation),) = response.results[-1].rows
        if isolation != "READ-COMMITTED" or "NO_BACKSLASH_ESCAPES" in sql_mode or "ANSI_QUOTES" not in sql_mode:
            raise UnsupportedServerError(f"the server doesn't keep what a session sets: {isolation}, {sql_mode}")
        self.greeting = Greeting(server, connection_id, packet_bytes - _PACKET_SPARE_BYTES, step)

    @property
    def usable(self) -> bool:
        """Tell whether statements can be sent: connected, and nothing was left half read."""
        return not self._wire.lost and not self._under_way

    @property
    def used_before(self) -> bool:
        """Tell whether this isn't the first packet after connecting, so that it may have died idle meanwhile."""
        return self._times_used > 1

    async def run(
        self, packet: Sequence[bytes], *, patient: bool = False, on_result: OnResult | None = None
    ) -> Response:
        """Send statements as one packet and read all of their results; `on_result` is told as they succeed.

        Whoever is interrupted in the middle leaves a connection that is closed. A definition is waited for patiently: a
        large table takes as long as it takes.

        Raises:
            ConnectionLostError: The connection ended, or the deadline passed.
        """
        async with self._turn:
            self._times_used += 1
            response = await self._send(b";".join(packet), patient=patient, on_result=on_result)
            warned = sum([result.warnings for result in response.results])
            if warned:
                await self._log_warnings(packet, response.results, warned)
            return response

    async def _send(self, packet: bytes, *, patient: bool = False, on_result: OnResult | None = None) -> Response:
        if self._under_way:
            raise ConnectionLostError("an answer was left half read")
        self._under_way = True
        try:
            async with asyncio.timeout(None if patient else self._options.statement_timeout_seconds):
                response = await self._wire.send(packet, on_result)
        except TimeoutError as error:
            self.abort()
            raise DeadlineError("no answer in time") from error
        except BaseException:
            self.abort()
            raise
        self._under_way = False
        return response

    async def _log_warnings(self, packet: Sequence[bytes], results: Sequence[Result], warned: int) -> None:
        """Log what the server warned of. It repeats the warnings of the last statement only."""
        rows: list[tuple[Any, ...]] = []
        if results[-1].warnings:
            rows = (await self._send(_SHOW_WARNINGS)).results[0].rows
        for level, code, message in rows:
            logger.warning("mysql_warning", level=level, code=code, message=message)
        if warned > len(rows):
            # The beginnings only: values may be personal.
            verbs = [bytes(statement[:40]).decode("latin-1") for statement in packet]
            logger.warning("mysql_warnings", count=warned - len(rows), statements=verbs)

    def abort(self) -> None:
        """Close at once; the server ends what is under way when it notices, or is told (see pool.py)."""
        self._wire.abort()
        self._connection.close()

    def close(self) -> None:
        """Say goodbye and close."""
        self._wire.quit()
        self._connection.close()


def _connection_error(error: OperationalError) -> Exception:
    code, message = error.args[0], str(error.args[-1])
    packet = b"\xff" + int(code).to_bytes(2, "little") + message.encode()
    server_error = ServerError(packet)
    if server_error.ends_connection:
        return ConnectionLostError(message)
    return server_error


def closed_error() -> UnavailableError:
    """Make the error of a database that was closed."""
    return UnavailableError("the database is closed", reason="database_closed")

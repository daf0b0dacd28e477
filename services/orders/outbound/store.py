"""Transactions of the orders database, as use cases see them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

from services.orders.outbound.key_rows import SqlKeyRows
from services.orders.outbound.order_events import ORDERS_STREAM, BufferedEvents
from services.orders.outbound.order_rows import SqlOrderRows
from services.orders.outbound.product_rows import SqlProductRows
from services.orders.outbound.refund_rows import SqlRefundRows
from services.orders.outbound.session_rows import SqlRevocationRows, SqlSessionRows
from services.orders.outbound.tables import bind
from services.orders.outbound.user_rows import PiccoloUserRows
from services.orders.ports import IdentityRows, Rows
from services.runtime.clock import Clock
from services.runtime.database.port import Connection, Database
from services.runtime.inbox import only_new
from services.runtime.outbox import append_numbered

CONSUMER = "orders"
"""The name in the inbox: the consumer group of wallet-events."""

MessageT = TypeVar("MessageT")


class SqlStore:
    """Fits `Store`."""

    def __init__(
        self, database: Database, *, clock: Clock, patience: timedelta, on_events: Callable[[], None] = lambda: None
    ) -> None:
        """Work on a database; `on_events` is called after a commit that had events: the relay may look."""
        self._database = database
        self._clock = clock
        self._tables = bind(database.engine)
        self._patience = patience
        self._on_events = on_events

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        """Begin; commit at the end, events last, or roll back on any exception."""
        events = BufferedEvents()
        async with self._database.transaction() as connection:
            yield Rows(
                orders=SqlOrderRows(connection, self._tables, patience=self._patience),
                products=SqlProductRows(connection, self._tables),
                refunds=SqlRefundRows(connection, self._tables),
                keys=SqlKeyRows(connection),
                events=events,
                inbox=_SqlInbox(connection, self._clock),
            )
            if events.events:
                await append_numbered(connection, ORDERS_STREAM, events.events)
        if events.events:
            self._on_events()


class SqlIdentityStore:
    """Fits `IdentityStore`."""

    def __init__(self, database: Database) -> None:
        """Work on a database."""
        self._database = database
        self._tables = bind(database.engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[IdentityRows]:
        """Begin; commit at the end, roll back on any exception."""
        async with self._database.transaction() as connection:
            yield IdentityRows(
                users=PiccoloUserRows(self._tables),
                sessions=SqlSessionRows(connection, self._tables),
                revocations=SqlRevocationRows(connection),
            )


class _SqlInbox:
    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    async def only_new(self, messages: Sequence[MessageT]) -> list[MessageT]:
        """Remember all of them, and return those that were not known."""
        known_as_messages = cast("Any", messages)
        new = await only_new(self._connection, CONSUMER, known_as_messages, clock=self._clock)
        return cast("list[MessageT]", new)

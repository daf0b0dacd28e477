"""Transactions of the orders database, as use cases see them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar, cast

from services.orders.domain.order import Order
from services.orders.domain.order_state import OrderState
from services.orders.identity_ports import IdentityRows
from services.orders.outbound.comparison_rows import SqlComparisonRows
from services.orders.outbound.external_identity_rows import SqlExternalIdentityRows
from services.orders.outbound.fee_rows import SqlFeeRows
from services.orders.outbound.key_rows import SqlKeyRows
from services.orders.outbound.order_events import ORDERS_STREAM, BufferedEvents
from services.orders.outbound.order_rows import SqlOrderRows
from services.orders.outbound.product_rows import SqlProductRows
from services.orders.outbound.refund_rows import SqlRefundRows
from services.orders.outbound.reset_rows import SqlResetRows
from services.orders.outbound.session_rows import SqlRevocationRows, SqlSessionRows
from services.orders.outbound.tables import bind
from services.orders.outbound.user_rows import PiccoloUserRows
from services.orders.outbound.webhook_notices import write_notices
from services.orders.outbound.webhook_rows import SqlWebhookRows
from services.orders.ports import Rows
from services.runtime.clock import Clock
from services.runtime.database.port import Connection, Database, DuplicateKeyError
from services.runtime.errors import ConflictError
from services.runtime.inbox import only_new
from services.runtime.outbox import append_numbered

CONSUMER = "orders"
"""The name in the inbox: the consumer group of wallet-events."""

MessageT = TypeVar("MessageT")


class SqlStore:
    """Fits `Store`."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        patience: timedelta,
        on_events: Callable[[], None] = lambda: None,
        on_notices: Callable[[], None] = lambda: None,
        on_changes: Callable[[Sequence[OrderState]], None] = lambda _: None,
    ) -> None:
        """Work on a database.

        Args:
            database: Where orders are kept.
            clock: Where `now` comes from.
            patience: How long a step may take before the reconciler looks after it.
            on_events: Called after a commit that had events: the relay may look.
            on_notices: Called after a commit that had webhooks to deliver.
            on_changes: Is told, after a commit, the states that orders came into by it.
        """
        self._on_changes = on_changes
        self._database = database
        self._clock = clock
        self._tables = bind(database.engine)
        self._patience = patience
        self._on_events = on_events
        self._on_notices = on_notices

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Rows]:
        """Begin; commit at the end, events last, or roll back on any exception."""
        work = _Work()
        try:
            async with self._database.transaction() as connection:
                yield self._rows(connection, work)
                await self._finish(connection, work)
        except DuplicateKeyError as error:
            if work.keys is None or not work.keys.has_added:
                raise
            raise ConflictError("A request with one of these keys was there before.", reason="key_known") from error
        if work.events.events:
            self._on_events()
        if work.somebody_listens:
            self._on_notices()
        self._on_changes([change.state for order in work.changed for change in order.changes])

    def _rows(self, connection: Connection, work: "_Work") -> Rows:
        work.orders = SqlOrderRows(connection, patience=self._patience, on_change=work.changed.append)
        work.keys = SqlKeyRows(connection)
        return Rows(
            orders=work.orders,
            products=SqlProductRows(connection, self._tables),
            refunds=SqlRefundRows(connection, self._tables),
            keys=work.keys,
            events=work.events,
            inbox=_SqlInbox(connection, self._clock),
            comparisons=SqlComparisonRows(connection),
            webhooks=SqlWebhookRows(connection),
            fees=SqlFeeRows(connection),
        )

    async def _finish(self, connection: Connection, work: "_Work") -> None:
        """Write what was kept for the end; events last, since their numbers are locked until the commit."""
        if work.keys is not None and work.orders is not None:
            await work.keys.flush()
            await work.orders.flush()
        work.somebody_listens = await write_notices(connection, work.changed)
        if work.events.events:
            await append_numbered(connection, ORDERS_STREAM, work.events.events)


@dataclass(slots=True)
class _Work:
    """What one transaction keeps until its end."""

    events: BufferedEvents = field(default_factory=BufferedEvents)
    changed: list[Order] = field(default_factory=list)
    orders: SqlOrderRows | None = None
    keys: SqlKeyRows | None = None
    somebody_listens: bool = False


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
                resets=SqlResetRows(connection),
                externals=SqlExternalIdentityRows(connection),
                listeners=SqlWebhookRows(connection),
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

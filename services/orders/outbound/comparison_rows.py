"""How far the comparison with the ledger is, and what it found."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.orders.domain.discrepancy import Discrepancy, OrderSums
from services.orders.domain.order_state import OrderState
from services.orders.outbound.order_mapping import MESSAGE_CHARACTERS_MAX
from services.orders.recovery_ports import ComparisonStep
from services.runtime.clock import from_micros, to_micros
from services.runtime.database.port import Connection, Row

ORDERS_A_STEP_MAX: Final = 128
"""Orders of one step: one question to the ledger, and a replica that dies loses only these."""

STEP_SECONDS_MAX: Final = 60.0
"""How long a step keeps others from its scope: longer than its question may take, and what it finds to be healed."""

# Reads orders as they are compared. Locks nothing.
READ_SUMS: Final = """
    SELECT order_id, version, state, buyer_id, currency, captured_minor, refunded_minor, created_at, updated_at,
        expires_at
    FROM orders WHERE order_id > $1 ORDER BY order_id LIMIT $2
"""

# Begins a scope: its first round is due.
_BEGIN: Final = """
    INSERT INTO reconciliations (scope, cursor_order_id, began_at, compared_at, taken_until) VALUES ($1, $2, 0, 0, 0)
    ON CONFLICT (scope) DO NOTHING
"""

# Locks the scope against other replicas.
_LOCK: Final = """
    SELECT cursor_order_id, began_at, compared_at, taken_until FROM reconciliations WHERE scope = $1 FOR UPDATE
"""

_TAKE: Final = "UPDATE reconciliations SET cursor_order_id = $1, began_at = $2, taken_until = $3 WHERE scope = $4"

# Moves on, unless the step took so long that another replica took it over.
_MOVE_ON: Final = """
    UPDATE reconciliations SET cursor_order_id = $1, taken_until = 0 WHERE scope = $2 AND taken_until = $3
"""

# Ends a round. A round that is over has `compared_at` = `began_at`.
_END_ROUND: Final = """
    UPDATE reconciliations SET compared_at = began_at, taken_until = 0 WHERE scope = $1 AND taken_until = $2
"""

# The first sight stays; one that comes back after it was healed begins anew.
_NOTE: Final = """
    INSERT INTO discrepancies (order_id, kind, message, first_seen_at, last_seen_at, seen, healed_at,
        order_state, order_currency, order_captured_minor, order_refunded_minor,
        hold_state, hold_currency, hold_captured_minor, hold_refunded_minor, hold_remaining_minor)
    VALUES ($1, $2, $3, $4, $4, 1, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (order_id, kind) DO NOTHING
"""

_NOTE_AGAIN: Final = """
    UPDATE discrepancies SET message = $3, last_seen_at = $4, seen = seen + 1, healed_at = $5,
        order_state = $6, order_currency = $7, order_captured_minor = $8, order_refunded_minor = $9,
        hold_state = $10, hold_currency = $11, hold_captured_minor = $12, hold_refunded_minor = $13,
        hold_remaining_minor = $14
    WHERE order_id = $1 AND kind = $2
"""

# What is open of these orders. Locks nothing: few orders have any.
_READ_OPEN: Final = "SELECT order_id, kind FROM discrepancies WHERE healed_at IS NULL AND order_id IN ($in)"

_IS_OPEN: Final = "SELECT 1 FROM discrepancies WHERE order_id = $1 AND kind = $2 AND healed_at IS NULL"

_SETTLE: Final = """
    UPDATE discrepancies SET healed_at = $1 WHERE order_id = $2 AND kind = $3 AND healed_at IS NULL
"""

# The first ones that were healed, by the index on it. Locks nothing.
_READ_HEALED: Final = """
    SELECT order_id, kind, healed_at FROM discrepancies WHERE healed_at < $1 ORDER BY healed_at LIMIT $2
"""

# Deletes one, unless it has come back meanwhile.
_FORGET: Final = "DELETE FROM discrepancies WHERE order_id = $1 AND kind = $2 AND healed_at = $3"


class SqlComparisonRows:
    """Fits `ComparisonRows`."""

    def __init__(self, connection: Connection) -> None:
        """Work in one transaction."""
        self._connection = connection

    async def take(
        self, scope: str, now: datetime, *, round_from: UUID, round_pause: timedelta
    ) -> ComparisonStep | None:
        """Take the next step of a scope; None when another replica works on it, or its round was just over.

        What lies ahead was written by a clock that was wrong: nobody waits for it.
        """
        await self._connection.execute(_BEGIN, scope.encode(), UUID(int=0))
        ((cursor, began_micros, compared_micros, taken_micros),) = await self._connection.fetch(_LOCK, scope.encode())
        taken_until = now + timedelta(seconds=STEP_SECONDS_MAX)
        if to_micros(now) < taken_micros <= to_micros(taken_until):
            return None
        began_at = from_micros(began_micros)
        if began_micros == compared_micros:
            if began_at <= now < began_at + round_pause:
                return None
            cursor, began_at = round_from, now
        await self._connection.execute(_TAKE, cursor, to_micros(began_at), to_micros(taken_until), scope.encode())
        orders = [sums_of(row) for row in await self._connection.fetch(READ_SUMS, cursor, ORDERS_A_STEP_MAX)]
        return ComparisonStep(
            scope=scope,
            began_at=began_at,
            taken_until=taken_until,
            after_order_id=cursor,
            orders=tuple(orders),
            # Where orders come faster than they are compared, a round that went after them would never end. One that
            # lies ahead ends none: its clock was wrong, and what comes after it may be old.
            ends_round=len(orders) < ORDERS_A_STEP_MAX or began_at <= orders[-1].created_at <= now,
        )

    async def finish(self, step: ComparisonStep) -> None:
        """Remember that the step's orders were compared, unless somebody took the step over."""
        scope, taken_micros = step.scope.encode(), to_micros(step.taken_until)
        if step.ends_round:
            await self._connection.execute(_END_ROUND, scope, taken_micros)
        else:
            await self._connection.execute(_MOVE_ON, step.orders[-1].order_id, scope, taken_micros)

    async def note(self, discrepancy: Discrepancy, now: datetime, *, healed: bool) -> None:
        """Remember that a discrepancy was seen, and whether it is set right."""
        now_micros = to_micros(now)
        row = (
            discrepancy.order_id,
            discrepancy.kind.value,
            discrepancy.message[:MESSAGE_CHARACTERS_MAX],
            now_micros,
            now_micros if healed else None,
            *_side_columns(discrepancy),
        )
        if not await self._connection.execute(_NOTE, *row):
            await self._connection.execute(_NOTE_AGAIN, *row)

    async def is_open(self, discrepancy: Discrepancy) -> bool:
        """Tell whether such a discrepancy was noted of the order before, and isn't healed."""
        rows = await self._connection.fetch(_IS_OPEN, discrepancy.order_id, discrepancy.kind.value)
        return bool(rows)

    async def settle(self, agreeing: Sequence[UUID], now: datetime) -> int:
        """Mark as healed what was noted of orders that agree by now; return how many."""
        noted = await self._connection.fetch_in(_READ_OPEN, list(agreeing))
        await self._connection.write_at_commit(_SETTLE, [(to_micros(now), order_id, kind) for order_id, kind in noted])
        return len(noted)

    async def forget(self, *, healed_before: datetime, rows_max: int) -> int:
        """Delete the discrepancies that were healed first; return how many."""
        old = await self._connection.fetch(_READ_HEALED, to_micros(healed_before), rows_max)
        await self._connection.write_at_commit(_FORGET, old)
        return len(old)


def _side_columns(discrepancy: Discrepancy) -> tuple[object, ...]:
    order, hold = discrepancy.order, discrepancy.hold
    of_order = (order.state.value, order.currency, order.captured_minor, order.refunded_minor)
    if hold is None:
        return (*of_order, None, None, None, None, None)
    return (
        *of_order,
        hold.state.value,
        hold.currency,
        hold.captured_minor,
        hold.refunded_minor,
        hold.remaining_minor,
    )


def sums_of(row: Row) -> OrderSums:
    """Make a value of a row of `READ_SUMS`."""
    order_id, version, state, buyer_id, currency, captured_minor, refunded_minor, *instants = row
    created_at, updated_at, expires_at = (from_micros(micros) for micros in instants)
    return OrderSums(
        order_id=order_id,
        version=version,
        state=OrderState(state),
        buyer_id=buyer_id,
        currency=currency,
        captured_minor=captured_minor,
        refunded_minor=refunded_minor,
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
    )

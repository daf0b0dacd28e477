"""Holds and capture legs: each as the newest record left it. What is left of them, accounts have set aside."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.state_after import StateAfter, decode_state_after
from services.ledger.outbound.stored_values import hold_of_row, leg_of_row
from services.ledger.queries.verification.findings import Findings, Told, columns_of
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection, Row

PAGE_ROWS = 500
"""Rows read at once, each with the record that last changed it."""

OPEN_STATE = HoldState.OPEN.value.encode()
"""As it is stored."""

PAGE_EXPIRIES = 100
"""Places of the queue read at once: of lists of up to 200 values MySQL looks into the index before it chooses one."""

HOLDS_PAGE = """
SELECT h.hold_id, h.service, h.wallet_id, h.account_id, h.currency, h.state, h.held, h.captured, h.voided, h.refunded,
    h.expires_at, h.last_sequence, r.state_after
FROM holds h LEFT JOIN records r ON r.book_id = h.book_id AND r.sequence = h.last_sequence
WHERE h.book_id = $1 AND h.hold_id > $2
ORDER BY h.hold_id
LIMIT $3
"""
"""Holds in order of their ids, with the record that they say left them so."""

NEWEST_OF_HOLDS = """
SELECT hold_id, MAX(CASE WHEN book_id = $1 THEN sequence END) FROM records
WHERE hold_id > $2 AND hold_id <= $3
GROUP BY hold_id
ORDER BY hold_id
LIMIT $4
"""
"""The newest record of each hold in a span of ids, by the index on them; none of another book's holds. Were the book a
condition, MySQL would read all of its records where the span is large."""

LEGS_PAGE = """
SELECT l.hold_id, l.capture_number, l.seller_id, l.account_id, l.fee_basis_points, l.gross, l.fee, l.gross_refunded,
    l.fee_returned, l.reversed_by, l.last_sequence, r.state_after
FROM capture_legs l LEFT JOIN records r ON r.book_id = l.book_id AND r.sequence = l.last_sequence
WHERE l.book_id = $1 AND l.hold_id IN ($in)
ORDER BY l.hold_id, l.capture_number, l.seller_id
"""
"""The capture legs of a page of holds, with the record that they say left them so."""


class LegRow(NamedTuple):
    """A row of `LEGS_PAGE`; without its record, `state_after` is None."""

    hold_id: bytes
    capture_number: int
    seller_id: bytes
    account_id: int
    fee_basis_points: int
    gross: int
    fee: int
    gross_refunded: int
    fee_returned: int
    reversed_by: int
    last_sequence: int
    state_after: bytes | None

    def to_leg(self) -> CaptureLeg:
        """Make the leg; a value that no writer wrote is a ValueError."""
        return leg_of_row(self[:-1])


LEGS_WITHOUT_HOLD = """
SELECT l.hold_id FROM capture_legs l LEFT JOIN holds h ON h.book_id = l.book_id AND h.hold_id = l.hold_id
WHERE l.book_id = $1 AND l.hold_id > $2 AND l.hold_id <= $3 AND h.hold_id IS NULL
ORDER BY l.hold_id LIMIT 100
"""
"""Captures of nothing, in a span of ids."""

EXPIRIES_MISSING = """
SELECT h.hold_id FROM holds h
LEFT JOIN hold_expiries e ON e.book_id = h.book_id AND e.expires_at = h.expires_at AND e.hold_id = h.hold_id
WHERE h.book_id = $1 AND h.hold_id > $2 AND h.hold_id <= $3 AND h.state = $4 AND e.hold_id IS NULL
ORDER BY h.hold_id LIMIT 100
"""
"""Open holds in a span of ids that would never expire."""

EXPIRIES_PAGE = """
SELECT e.expires_at, e.hold_id, h.state, h.expires_at
FROM hold_expiries e LEFT JOIN holds h ON h.book_id = e.book_id AND h.hold_id = e.hold_id
WHERE e.book_id = $1 AND (e.expires_at > $2 OR (e.expires_at = $2 AND e.hold_id > $3))
ORDER BY e.expires_at, e.hold_id
LIMIT $4
"""
"""The queue of expiries in its order, with the holds."""

RESERVES_OF_HOLDS = """
SELECT hold_id, state_after FROM records WHERE book_id = $1 AND kind = $2 AND hold_id IN ($in)
"""
"""What holds were when they were made, by `records_by_hold`."""


LAST_HOLD_ID = b"\xff" * 16
"""No hold's id is behind it."""


@dataclass(slots=True, kw_only=True)
class HoldsWalk:
    """What the walk counted."""

    holds: int = 0
    holds_active: int = 0
    legs: int = 0
    remaining_minor: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """What is left of each account's open holds: of those that have any, so that it grows with what is open now."""


async def walk_holds(connection: Connection, findings: Findings, told: Told, *, book_id: int) -> HoldsWalk:
    """Check all holds and legs, and what hangs on them, span by span of the holds' ids."""
    walk = HoldsWalk()
    after = b""
    while after < LAST_HOLD_ID:
        page = await connection.fetch(HOLDS_PAGE, book_id, after, PAGE_ROWS)
        upto = page[-1][0] if len(page) == PAGE_ROWS else LAST_HOLD_ID
        legs = await legs_of(connection, page, book_id=book_id)
        for row in page:
            hold = check_hold(findings, walk, row, legs.get(row[0], []))
            if hold is not None and hold.is_active:
                walk.remaining_minor[hold.account_id] += hold.remaining_minor
        await _check_span(connection, findings, book_id, page, (after, upto))
        told(walk.holds)
        after = upto
    await _check_expiries(connection, findings, book_id)
    return walk


async def legs_of(connection: Connection, page: list[Row], *, book_id: int) -> dict[bytes, list[LegRow]]:
    """Read the capture legs of a page of holds, by hold."""
    legs: dict[bytes, list[LegRow]] = {}
    for columns in await connection.fetch_in(LEGS_PAGE, [row[0] for row in page], book_id):
        leg = LegRow(*columns)
        legs.setdefault(leg.hold_id, []).append(leg)
    return legs


def check_hold(findings: Findings, walk: HoldsWalk, columns: Row, legs: list[LegRow]) -> Hold | None:
    """Check one hold and its legs, and return it, where it can be read.

    Args:
        findings: Is told what is wrong.
        walk: Counts.
        columns: A row of `HOLDS_PAGE`.
        legs: Its captures.
    """
    *hold_columns, state_after = columns
    row = f"hold {columns[0].hex()}"
    walk.holds += 1
    walk.legs += len(legs)
    for leg in legs:
        _check_leg(findings, f"{row} capture {leg.capture_number} seller {leg.seller_id.hex()}", leg)
    hold: Hold | None = None
    with findings.unreadable("holds", row, "state"):
        hold = hold_of_row(tuple(hold_columns))
        walk.holds_active += hold.is_active
        _check_sums(findings, row, hold, legs)
        left = _state_left(findings, "holds", row, state_after)
        if left is not None and (left.hold is None or left.hold.hold_id != hold.hold_id):
            findings.add("holds", row, "last_sequence", "names a record of something else.")
        elif left is not None and left.hold is not None:
            findings.compare("holds", row, columns_of(left.hold), columns_of(hold))
    return hold


def _check_sums(findings: Findings, row: str, hold: Hold, legs: list[LegRow]) -> None:
    if min(hold.captured_minor, hold.voided_minor, hold.remaining_minor) < 0:
        findings.add("holds", row, "held", "is not captured + voided + remaining.")
    if not hold.is_active and hold.remaining_minor:
        findings.add("holds", row, "state", f"is {hold.state.value} and {hold.remaining_minor} remain.")
    if hold.refunded_minor > hold.captured_minor:
        findings.add("holds", row, "refunded", "is more than was captured.")
    if sum(leg.gross for leg in legs) != hold.captured_minor:
        findings.add("capture_legs", row, "gross", f"doesn't sum to the {hold.captured_minor} that the hold captured.")
    if sum(leg.gross_refunded for leg in legs) != hold.refunded_minor:
        findings.add("capture_legs", row, "gross_refunded", f"doesn't sum to the {hold.refunded_minor} refunded.")


def _check_leg(findings: Findings, row: str, columns: LegRow) -> None:
    with findings.unreadable("capture_legs", row, "seller_id"):
        leg = columns.to_leg()
        if not 0 <= leg.gross_refunded_minor <= leg.gross_minor:
            findings.add("capture_legs", row, "gross_refunded", "is more than was captured.")
        left = _state_left(findings, "capture_legs", row, columns.state_after)
        if left is None:
            return
        same = [each for each in left.capture_legs if _leg_key(each) == _leg_key(leg)]
        if not same:
            findings.add("capture_legs", row, "last_sequence", "names a record of something else.")
            return
        findings.compare("capture_legs", row, columns_of(same[0]), columns_of(leg))


def _state_left(findings: Findings, table: str, row: str, state_after: bytes | None) -> StateAfter | None:
    if state_after is None:
        findings.add(table, row, "last_sequence", "names no record.")
        return None
    try:
        return decode_state_after(state_after)
    except ValueError as error:
        findings.add(table, row, "last_sequence", f"names a record whose state can't be read: {error}.")
        return None


def _leg_key(leg: CaptureLeg) -> tuple[UUID, int, UUID]:
    return leg.hold_id, leg.capture_number, leg.seller_id


async def _check_span(
    connection: Connection, findings: Findings, book_id: int, page: Sequence[Row], span: tuple[bytes, bytes]
) -> None:
    """Check that a span of ids has the holds that the journal left there, legs of no others, and places in the queue.

    Args:
        connection: Where they are.
        findings: Is told what is wrong.
        book_id: Whose.
        page: All holds of the span, as rows of `HOLDS_PAGE`.
        span: The id before the first one, and the last one.
    """
    kept = {row[0]: row[11] for row in page}
    async for hold_id, newest in _newest_of_holds(connection, book_id, span):
        last_sequence = kept.get(hold_id)
        if newest is not None and last_sequence != newest:
            found = "is missing" if last_sequence is None else f"is {last_sequence}"
            findings.add("holds", f"hold {hold_id.hex()}", "last_sequence", f"{found} and should be {newest}.")
    for (hold_id,) in await connection.fetch(LEGS_WITHOUT_HOLD, book_id, *span):
        findings.add("capture_legs", f"hold {hold_id.hex()}", "hold_id", "names no hold.")
    for (hold_id,) in await connection.fetch(EXPIRIES_MISSING, book_id, *span, OPEN_STATE):
        findings.add("hold_expiries", f"hold {hold_id.hex()}", "hold_id", "is missing: an open hold never expires.")


async def _newest_of_holds(connection: Connection, book_id: int, span: tuple[bytes, bytes]) -> AsyncIterator[Row]:
    after, upto = span
    while True:
        page = await connection.fetch(NEWEST_OF_HOLDS, book_id, after, upto, PAGE_ROWS)
        for row in page:
            yield row
        if len(page) < PAGE_ROWS:
            return
        after = page[-1][0]


async def _check_expiries(connection: Connection, findings: Findings, book_id: int) -> None:
    """Check the queue: each place in it is that of an open hold, or was that of one that has ended since."""
    expires_at, hold_id = -1, b""
    while page := await connection.fetch(EXPIRIES_PAGE, book_id, expires_at, hold_id, PAGE_EXPIRIES):
        ended = {row[1]: row[0] for row in page if row[2] != OPEN_STATE}
        for hold_id, at, found in [(row[1], row[0], row[3]) for row in page if row[2] == OPEN_STATE]:
            _compare_expiry(findings, hold_id, at, found)
        reserves = await connection.fetch_in(RESERVES_OF_HOLDS, list(ended), book_id, RecordKind.RESERVE.value.encode())
        made: dict[bytes, bytes] = dict(reserves)
        for hold_id, at in ended.items():
            _compare_expiry(findings, hold_id, at, _expiry_left(findings, hold_id, made.get(hold_id)))
        expires_at, hold_id = page[-1][0], page[-1][1]


def _expiry_left(findings: Findings, hold_id: bytes, state_after: bytes | None) -> int | None:
    left = _state_left(findings, "hold_expiries", f"hold {hold_id.hex()}", state_after)
    if left is None or left.hold is None or left.hold.expires_at is None:
        return None
    return to_micros(left.hold.expires_at)


def _compare_expiry(findings: Findings, hold_id: bytes, expires_at: int, expected: int | None) -> None:
    if expires_at != expected:
        told = f"is {expires_at}, and the hold expires at {expected}."
        findings.add("hold_expiries", f"hold {hold_id.hex()}", "expires_at", told)

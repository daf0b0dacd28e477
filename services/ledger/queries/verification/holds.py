"""Holds and capture legs: each as the newest record left it, and their sums what the accounts have set aside."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.state_after import StateAfter, decode_state_after
from services.ledger.outbound.book_reading import hold_of_row
from services.ledger.queries.verification.findings import Findings, columns_of
from services.runtime.database.port import Connection, Row

PAGE_ROWS = 500
"""Rows read at once, each with the record that last changed it."""

HOLDS_PAGE = """
SELECT h.hold_id, h.service, h.wallet_id, h.account_id, h.currency, h.state, h.held, h.captured, h.voided, h.refunded,
    h.expires_at, h.last_sequence, r.state_after
FROM holds h LEFT JOIN records r ON r.book_id = h.book_id AND r.sequence = h.last_sequence
WHERE h.book_id = $1 AND h.hold_id > $2
ORDER BY h.hold_id
LIMIT $3
"""
"""Holds in order of their ids, with the record that they say left them so."""

HOLDS_LEFT_BEHIND = """
SELECT r.hold_id, r.newest, h.last_sequence
FROM (
    SELECT hold_id, MAX(sequence) AS newest FROM records WHERE book_id = $1 AND hold_id IS NOT NULL GROUP BY hold_id
) r
LEFT JOIN holds h ON h.book_id = $1 AND h.hold_id = r.hold_id
WHERE h.last_sequence IS NULL OR h.last_sequence <> r.newest
ORDER BY r.newest
LIMIT 100
"""
"""Holds that are missing, or are not what their newest record left."""

LEGS_PAGE = """
SELECT l.hold_id, l.capture_number, l.seller_id, l.account_id, l.fee_basis_points, l.gross, l.fee, l.gross_refunded,
    l.fee_returned, l.last_sequence, r.state_after
FROM capture_legs l LEFT JOIN records r ON r.book_id = l.book_id AND r.sequence = l.last_sequence
WHERE l.book_id = $1 AND l.hold_id IN ($in)
ORDER BY l.hold_id, l.capture_number, l.seller_id
"""
"""The capture legs of a page of holds, with the record that they say left them so."""

LEGS_WITHOUT_HOLD = """
SELECT l.hold_id FROM capture_legs l LEFT JOIN holds h ON h.book_id = l.book_id AND h.hold_id = l.hold_id
WHERE l.book_id = $1 AND h.hold_id IS NULL
ORDER BY l.hold_id LIMIT 100
"""
"""Captures of nothing."""

PENDING_MISMATCHES = """
SELECT b.account_id, b.debits_pending, COALESCE(h.remaining, 0), b.credits_pending
FROM balances b
LEFT JOIN (
    SELECT account_id, SUM(held - captured - voided) AS remaining FROM holds
    WHERE book_id = $1 AND state IN ($2, $3) GROUP BY account_id
) h ON h.account_id = b.account_id
WHERE b.book_id = $1 AND (b.debits_pending <> COALESCE(h.remaining, 0) OR b.credits_pending <> 0)
ORDER BY b.account_id
LIMIT 100
"""
"""Accounts that have set aside something else than their open holds' remaining amounts. Only wallets have holds, and
wallets pay by debits."""

EXPIRIES_MISSING = """
SELECT h.hold_id FROM holds h
LEFT JOIN hold_expiries e ON e.book_id = h.book_id AND e.expires_at = h.expires_at AND e.hold_id = h.hold_id
WHERE h.book_id = $1 AND h.state = $2 AND e.hold_id IS NULL
ORDER BY h.hold_id LIMIT 100
"""
"""Open holds that would never expire."""

EXPIRIES_TOO_MANY = """
SELECT e.hold_id FROM hold_expiries e
LEFT JOIN holds h ON h.book_id = e.book_id AND h.hold_id = e.hold_id AND h.state = $2 AND h.expires_at = e.expires_at
WHERE e.book_id = $1 AND h.hold_id IS NULL
ORDER BY e.hold_id LIMIT 100
"""
"""Expiries of holds that aren't open, or not until then."""


@dataclass(slots=True, kw_only=True)
class HoldsWalk:
    """What the walk counted."""

    holds: int = 0
    holds_active: int = 0
    legs: int = 0


async def walk_holds(connection: Connection, findings: Findings, *, book_id: int) -> HoldsWalk:
    """Check all holds and legs, and what hangs on them."""
    walk = HoldsWalk()
    async for page in _hold_pages(connection, book_id):
        legs: dict[bytes, list[Row]] = {}
        for leg in await connection.fetch_in(LEGS_PAGE, [row[0] for row in page], book_id):
            legs.setdefault(leg[0], []).append(leg)
        for row in page:
            _check_hold(findings, walk, row, legs.get(row[0], []))
    await _check_sets(connection, findings, book_id)
    return walk


async def _hold_pages(connection: Connection, book_id: int) -> AsyncIterator[list[Row]]:
    after = b""
    while page := await connection.fetch(HOLDS_PAGE, book_id, after, PAGE_ROWS):
        yield page
        after = page[-1][0]


def _check_hold(findings: Findings, walk: HoldsWalk, columns: Row, legs: list[Row]) -> None:
    *hold_columns, state_after = columns
    row = f"hold {columns[0].hex()}"
    walk.holds += 1
    walk.legs += len(legs)
    for leg in legs:
        _check_leg(findings, f"{row} capture {leg[1]} seller {leg[2].hex()}", leg)
    with findings.unreadable("holds", row, "state"):
        hold = hold_of_row(tuple(hold_columns))
        walk.holds_active += hold.is_active
        _check_sums(findings, row, hold, legs)
        left = _state_left(findings, "holds", row, state_after)
        if left is not None and (left.hold is None or left.hold.hold_id != hold.hold_id):
            findings.add("holds", row, "last_sequence", "names a record of something else.")
        elif left is not None and left.hold is not None:
            findings.compare("holds", row, columns_of(left.hold), columns_of(hold))


def _check_sums(findings: Findings, row: str, hold: Hold, legs: list[Row]) -> None:
    if min(hold.captured_minor, hold.voided_minor, hold.remaining_minor) < 0:
        findings.add("holds", row, "held", "is not captured + voided + remaining.")
    if not hold.is_active and hold.remaining_minor:
        findings.add("holds", row, "state", f"is {hold.state.value} and {hold.remaining_minor} remain.")
    if hold.refunded_minor > hold.captured_minor:
        findings.add("holds", row, "refunded", "is more than was captured.")
    if sum(leg[5] for leg in legs) != hold.captured_minor:
        findings.add("capture_legs", row, "gross", f"doesn't sum to the {hold.captured_minor} that the hold captured.")
    if sum(leg[7] for leg in legs) != hold.refunded_minor:
        findings.add("capture_legs", row, "gross_refunded", f"doesn't sum to the {hold.refunded_minor} refunded.")


def _check_leg(findings: Findings, row: str, columns: Row) -> None:
    with findings.unreadable("capture_legs", row, "seller_id"):
        leg = _leg_of_row(columns)
        if not 0 <= leg.gross_refunded_minor <= leg.gross_minor:
            findings.add("capture_legs", row, "gross_refunded", "is more than was captured.")
        left = _state_left(findings, "capture_legs", row, columns[10])
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


def _leg_of_row(row: Row) -> CaptureLeg:
    return CaptureLeg(
        hold_id=UUID(bytes=row[0]),
        capture_number=row[1],
        seller_id=UUID(bytes=row[2]),
        account_id=row[3],
        fee_basis_points=row[4],
        gross_minor=row[5],
        fee_minor=row[6],
        gross_refunded_minor=row[7],
        fee_returned_minor=row[8],
        last_sequence=row[9],
    )


async def _check_sets(connection: Connection, findings: Findings, book_id: int) -> None:
    """Check what the database can tell of whole tables."""
    open_state, committed_state = HoldState.OPEN.value.encode(), HoldState.COMMITTED.value.encode()
    for hold_id, newest, last_sequence in await connection.fetch(HOLDS_LEFT_BEHIND, book_id):
        found = "is missing" if last_sequence is None else f"is {last_sequence}"
        findings.add("holds", f"hold {hold_id.hex()}", "last_sequence", f"{found} and should be {newest}.")
    for (hold_id,) in await connection.fetch(LEGS_WITHOUT_HOLD, book_id):
        findings.add("capture_legs", f"hold {hold_id.hex()}", "hold_id", "names no hold.")
    for account_id, pending, remaining, other in await connection.fetch(
        PENDING_MISMATCHES, book_id, open_state, committed_state
    ):
        row = f"account {account_id}"
        findings.compare(
            "balances",
            row,
            {"debits_pending": int(remaining), "credits_pending": 0},
            {"debits_pending": pending, "credits_pending": other},
        )
    for (hold_id,) in await connection.fetch(EXPIRIES_MISSING, book_id, open_state):
        findings.add("hold_expiries", f"hold {hold_id.hex()}", "hold_id", "is missing: an open hold never expires.")
    for (hold_id,) in await connection.fetch(EXPIRIES_TOO_MANY, book_id, open_state):
        findings.add("hold_expiries", f"hold {hold_id.hex()}", "expires_at", "is not that of an open hold.")

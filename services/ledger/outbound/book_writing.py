"""Write what a batch decided: one statement a table, its rows in order of their primary key.

All of it may travel with the COMMIT: nothing here asks what a statement did.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from msgspec import Struct

from services.ledger.commands.decision import Decision
from services.ledger.commands.state import KeyScope
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import Head
from services.ledger.domain.proof import SealedRecord, Sealer
from services.ledger.outbound.book_head import move_head
from services.ledger.outbound.forgetting import in_order, write_forgetting
from services.ledger.outbound.key_guard import refuse_answered_keys
from services.ledger.outbound.stored_rows import (
    account_row,
    answer_row,
    backdated_rows,
    balance_row,
    expiry_rows,
    hold_row,
    leg_row,
    posting_rows,
    record_row,
    reversal_rows,
)
from services.ledger.outbound.wallet_event_encoding import outbox_event_of
from services.runtime.clock import to_micros
from services.runtime.database.port import CommitWrites
from services.runtime.outbox import append

# The journal grows; a key that has a record already fails the batch, since it would be a second effect of one key.
_INSERT_RECORDS = """
    INSERT INTO records (book_id, sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, service,
        idempotency_key, fingerprint_version, fingerprint, state_after, metadata, postings_root, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""

# Its legs.
_INSERT_POSTINGS = """
    INSERT INTO postings (book_id, sequence, leg, account_id, account_sequence, amount, balance_after, salt, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

# Legs that count for another day.
_INSERT_BACKDATED = """
    INSERT INTO backdated (book_id, account_id, effective_at, sequence, leg, recorded_at, amount)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

# What was taken back; a record that was fails the batch.
_INSERT_REVERSALS = "INSERT INTO reversals (book_id, sequence, reversed_by) VALUES ($1, $2, $3)"

# New accounts; one that exists fails the batch, since two accounts of one code would be a hole in the book.
_INSERT_ACCOUNTS = """
    INSERT INTO accounts (book_id, code, account_id, account_type, wallet_id, currency, opened_sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

# Absolute balances, never differences: a difference would trip the table's CHECK on the candidate row.
_UPSERT_BALANCES = """
    INSERT INTO balances (book_id, account_id, debits_posted, credits_posted, debits_pending, credits_pending,
        overdraft_limit, limit_sequence, account_sequence, last_posting_hash, event_sequence, event_position)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (book_id, account_id) DO UPDATE SET debits_posted = EXCLUDED.debits_posted,
        credits_posted = EXCLUDED.credits_posted, debits_pending = EXCLUDED.debits_pending,
        credits_pending = EXCLUDED.credits_pending, overdraft_limit = EXCLUDED.overdraft_limit,
        limit_sequence = EXCLUDED.limit_sequence, account_sequence = EXCLUDED.account_sequence,
        last_posting_hash = EXCLUDED.last_posting_hash, event_sequence = EXCLUDED.event_sequence,
        event_position = EXCLUDED.event_position
"""

# The same for accounts that are there already, which most are.
_UPDATE_BALANCES = """
    UPDATE balances SET debits_posted = $3, credits_posted = $4, debits_pending = $5, credits_pending = $6,
        overdraft_limit = $7, limit_sequence = $8, account_sequence = $9, last_posting_hash = $10, event_sequence = $11,
        event_position = $12
    WHERE book_id = $1 AND account_id = $2
"""

# New holds; one that exists fails the batch, which assumed that there is none.
_INSERT_HOLDS = """
    INSERT INTO holds (book_id, hold_id, service, wallet_id, account_id, currency, state, held, captured, voided,
        refunded, expires_at, last_sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
"""

# Holds as they are now; whose they are and what was held never changes.
_UPSERT_HOLDS = """
    INSERT INTO holds (book_id, hold_id, service, wallet_id, account_id, currency, state, held, captured, voided,
        refunded, expires_at, last_sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (book_id, hold_id) DO UPDATE SET state = EXCLUDED.state, captured = EXCLUDED.captured,
        voided = EXCLUDED.voided, refunded = EXCLUDED.refunded, expires_at = EXCLUDED.expires_at,
        last_sequence = EXCLUDED.last_sequence
"""

# New holds that may fall due.
_INSERT_EXPIRIES = "INSERT INTO hold_expiries (book_id, expires_at, hold_id) VALUES ($1, $2, $3)"

# What sellers got, and gave back.
_UPSERT_LEGS = """
    INSERT INTO capture_legs (book_id, hold_id, capture_number, seller_id, account_id, fee_basis_points, gross, fee,
        gross_refunded, fee_returned, reversed_by, last_sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (book_id, hold_id, capture_number, seller_id) DO UPDATE SET
        gross_refunded = EXCLUDED.gross_refunded, fee_returned = EXCLUDED.fee_returned,
        reversed_by = EXCLUDED.reversed_by, last_sequence = EXCLUDED.last_sequence
"""

# Keys whose answers made no record; one that exists fails the batch.
_INSERT_ANSWERS = """
    INSERT INTO idempotency_keys (book_id, service, idempotency_key, fingerprint_version, fingerprint, reason, message,
        details, hold_id, recorded_at, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


Rows = Sequence[Sequence[object]]


class BookRows(Struct, frozen=True, kw_only=True):
    """What records did to a book: the rows of each table, in order of its primary key, as stored_rows.py makes them.

    `balances_moved` are of accounts that the book has already, `holds_made` are holds that it hasn't.
    """

    records: Rows
    postings: Rows
    backdated: Rows
    reversals: Rows
    accounts: Rows
    balances: Rows
    balances_moved: Rows = ()
    holds: Rows
    holds_made: Rows = ()
    expiries: Rows
    legs: Rows


def stream_of(book_id: int) -> str:
    """Name a book's stream of events in the outbox."""
    return f"book:{book_id}"


async def write_decision(
    connection: CommitWrites,
    head: Head,
    decision: Decision,
    records: Sequence[SealedRecord],
    sealer: Sealer,
    unanswered: Iterable[KeyScope] = (),
) -> None:
    """Move the head, which locks the book if nothing did before, and write all of it.

    The transaction fails with `ValueMissingError` if the book doesn't stand at `head`, or if one of the keys
    `unanswered` has an answer.
    """
    book_id, write = head.book_id, connection.write_at_commit
    made: list[Hold] = []
    moved: list[Hold] = []
    for hold_id, hold in decision.holds.items():
        (made if decision.holds_before[hold_id] is None else moved).append(hold)
    changed = sorted(decision.accounts.values(), key=lambda account: account.account_id)
    row_of = partial(balance_row, book_id, tails=sealer.tails)
    rows = BookRows(
        records=[record_row(book_id, sealed) for sealed in records],
        postings=posting_rows(book_id, records),
        backdated=sorted(backdated_rows(book_id, records)),
        reversals=sorted(reversal_rows(book_id, records)),
        accounts=sorted([account_row(book_id, account) for account in decision.opened]),
        balances=[row_of(account) for account in changed if account.account_id > head.last_account_id],
        balances_moved=[row_of(account) for account in changed if account.account_id <= head.last_account_id],
        holds=sorted([hold_row(book_id, hold) for hold in moved]),
        holds_made=sorted([hold_row(book_id, hold) for hold in made]),
        expiries=sorted(expiry_rows(book_id, made)),
        legs=sorted([leg_row(book_id, leg) for leg in decision.legs.values()]),
    )
    await move_head(
        connection,
        head,
        last_sequence=decision.last_sequence,
        last_hash=sealer.last_hash,
        last_recorded_at_micros=to_micros(decision.last_recorded_at),
        last_account_id=decision.last_account_id,
        last_event_sequence=decision.last_event_sequence,
    )
    await refuse_answered_keys(connection, book_id, unanswered)
    await write_rows(connection, rows)
    # What is forgotten goes first: a key that was may be new in the same batch.
    await write_forgetting(connection, book_id, decision)
    answers = sorted([key for key in decision.keys if not key.sequence], key=in_order)
    await write(_INSERT_ANSWERS, [answer_row(book_id, key) for key in answers])
    events = [outbox_event_of(event) for event in decision.events]
    await append(connection, stream_of(book_id), events, first_sequence=head.last_event_sequence + 1)


async def write_rows(connection: CommitWrites, rows: BookRows) -> None:
    """Write what records did to a book, one statement a table."""
    write = connection.write_at_commit
    await write(_INSERT_RECORDS, rows.records)
    await write(_INSERT_POSTINGS, rows.postings)
    await write(_INSERT_BACKDATED, rows.backdated)
    await write(_INSERT_REVERSALS, rows.reversals)
    await write(_INSERT_ACCOUNTS, rows.accounts)
    await write(_UPSERT_BALANCES, rows.balances)
    await write(_UPDATE_BALANCES, rows.balances_moved)
    await write(_INSERT_HOLDS, rows.holds_made)
    await write(_UPSERT_HOLDS, rows.holds)
    await write(_INSERT_EXPIRIES, rows.expiries)
    await write(_UPSERT_LEGS, rows.legs)

"""Write what a batch decided: one statement a table, its rows in order of their primary key."""

import json
from collections.abc import Iterable, Sequence
from uuid import UUID

from services.ledger.commands.decision import Decision
from services.ledger.domain.account import Account
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import GENESIS_HASH, Head
from services.ledger.domain.keys import FINGERPRINT_VERSION, RecordedKey
from services.ledger.domain.proof import SealedRecord, Sealer
from services.ledger.outbound.book_head import move_head
from services.ledger.outbound.wallet_event_encoding import outbox_event_of
from services.runtime.clock import to_micros
from services.runtime.database.port import Connection
from services.runtime.outbox import append

MESSAGE_BYTES_MAX = 512
"""How much of a refusal's sentence is remembered: the column's width."""

# The journal grows.
_INSERT_RECORDS = """
    INSERT INTO records (book_id, sequence, kind, recorded_at, effective_at, record_id, hold_id, key_hash, state_after,
        metadata, postings_root, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""

# Its legs.
_INSERT_POSTINGS = """
    INSERT INTO postings (book_id, sequence, leg, account_id, account_sequence, amount, balance_after, salt, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

# New accounts; one that exists fails the batch, since two accounts of one code would be a hole in the book.
_INSERT_ACCOUNTS = """
    INSERT INTO accounts (book_id, code, account_id, account_type, wallet_id, currency, opened_sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

# Absolute balances, never differences: a difference would trip the table's CHECK on the candidate row.
_UPSERT_BALANCES = """
    INSERT INTO balances (book_id, account_id, debits_posted, credits_posted, debits_pending, credits_pending,
        overdraft_limit, account_sequence, last_posting_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (book_id, account_id) DO UPDATE SET debits_posted = EXCLUDED.debits_posted,
        credits_posted = EXCLUDED.credits_posted, debits_pending = EXCLUDED.debits_pending,
        credits_pending = EXCLUDED.credits_pending, overdraft_limit = EXCLUDED.overdraft_limit,
        account_sequence = EXCLUDED.account_sequence, last_posting_hash = EXCLUDED.last_posting_hash
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

# Holds that may fall due.
_INSERT_EXPIRIES = "INSERT INTO hold_expiries (book_id, expires_at, hold_id) VALUES ($1, $2, $3)"

# Holds that no longer do.
_DELETE_EXPIRIES = "DELETE FROM hold_expiries WHERE book_id = $1 AND expires_at = $2 AND hold_id = $3"

# What sellers got, and gave back.
_UPSERT_LEGS = """
    INSERT INTO capture_legs (book_id, hold_id, capture_number, seller_id, account_id, fee_basis_points, gross, fee,
        gross_refunded, fee_returned, last_sequence)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (book_id, hold_id, capture_number, seller_id) DO UPDATE SET
        gross_refunded = EXCLUDED.gross_refunded, fee_returned = EXCLUDED.fee_returned,
        last_sequence = EXCLUDED.last_sequence
"""

# Keys and their answers; one that exists fails the batch, since it would be a second effect of one key.
_INSERT_KEYS = """
    INSERT INTO idempotency_keys (book_id, service, idempotency_key, fingerprint_version, fingerprint, sequence, reason,
        message, details, hold_id, recorded_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""

# The newest event sequence of wallets.
_UPSERT_WALLETS = """
    INSERT INTO wallets (book_id, wallet_id, event_sequence) VALUES ($1, $2, $3)
    ON CONFLICT (book_id, wallet_id) DO UPDATE SET event_sequence = EXCLUDED.event_sequence
"""


def stream_of(book_id: int) -> str:
    """Name a book's stream of events in the outbox."""
    return f"book:{book_id}"


async def write_decision(
    connection: Connection, head: Head, decision: Decision, records: Sequence[SealedRecord], sealer: Sealer
) -> None:
    """Write all of it and move the head. The book's lock is held."""
    await _write_journal(connection, head.book_id, records)
    await _write_accounts(connection, head.book_id, decision, sealer.tails)
    await _write_holds(connection, head.book_id, decision)
    await connection.execute_many(_INSERT_KEYS, sorted([_key_row(head.book_id, key) for key in decision.keys]))
    await _write_events(connection, head, decision)
    await move_head(
        connection,
        head,
        last_sequence=decision.last_sequence,
        last_hash=sealer.last_hash,
        last_recorded_at_micros=to_micros(decision.last_recorded_at),
        last_account_id=decision.last_account_id,
        last_event_sequence=head.last_event_sequence + len(decision.events),
    )


async def _write_journal(connection: Connection, book_id: int, records: Sequence[SealedRecord]) -> None:
    await connection.execute_many(_INSERT_RECORDS, [_record_row(book_id, sealed) for sealed in records])
    await connection.execute_many(_INSERT_POSTINGS, _posting_rows(book_id, records))


async def _write_accounts(connection: Connection, book_id: int, decision: Decision, tails: dict[int, bytes]) -> None:
    await connection.execute_many(
        _INSERT_ACCOUNTS, sorted([_account_row(book_id, account) for account in decision.opened])
    )
    await connection.execute_many(
        _UPSERT_BALANCES,
        sorted([_balance_row(book_id, account, tails) for account in decision.accounts.values()]),
    )


async def _write_holds(connection: Connection, book_id: int, decision: Decision) -> None:
    await connection.execute_many(_UPSERT_HOLDS, sorted([_hold_row(book_id, hold) for hold in decision.holds.values()]))
    before = {due for due in map(_due, decision.holds_before.values()) if due is not None}
    after = {due for due in map(_due, decision.holds.values()) if due is not None}
    await connection.execute_many(_DELETE_EXPIRIES, [(book_id, *due) for due in sorted(before - after)])
    await connection.execute_many(_INSERT_EXPIRIES, [(book_id, *due) for due in sorted(after - before)])
    await connection.execute_many(_UPSERT_LEGS, sorted([_leg_row(book_id, leg) for leg in decision.legs.values()]))


async def _write_events(connection: Connection, head: Head, decision: Decision) -> None:
    wallets = [(head.book_id, wallet_id.bytes, sequence) for wallet_id, sequence in decision.wallets.items()]
    await connection.execute_many(_UPSERT_WALLETS, sorted(wallets))
    await append(
        connection,
        stream_of(head.book_id),
        [outbox_event_of(event) for event in decision.events],
        first_sequence=head.last_event_sequence + 1,
    )


def _due(hold: Hold | None) -> tuple[int, bytes] | None:
    """Tell the row of the queue that an open hold has."""
    if hold is None or hold.state is not HoldState.OPEN or hold.expires_at is None:
        return None
    return to_micros(hold.expires_at), hold.hold_id.bytes


def _record_row(book_id: int, sealed: SealedRecord) -> tuple[object, ...]:
    record = sealed.record
    return (
        book_id,
        record.sequence,
        record.kind.value.encode(),
        to_micros(record.recorded_at),
        to_micros(record.effective_at),
        sealed.record_id,
        _bytes_of(record.hold_id),
        record.key_hash,
        sealed.state_after,
        record.metadata,
        sealed.postings_root,
        sealed.hash,
    )


def _posting_rows(book_id: int, records: Iterable[SealedRecord]) -> list[tuple[object, ...]]:
    return [
        (
            book_id,
            sealed.record.sequence,
            leg,
            each.posting.account_id,
            each.posting.account_sequence,
            each.posting.amount_minor,
            each.posting.balance_after_minor,
            each.salt,
            each.hash,
        )
        for sealed in records
        for leg, each in enumerate(sealed.postings)
    ]


def _account_row(book_id: int, account: Account) -> tuple[int, bytes, int, bytes, bytes | None, bytes, int]:
    return (
        book_id,
        account.code.encode(),
        account.account_id,
        account.account_type.value.encode(),
        _bytes_of(account.wallet_id),
        account.currency.encode(),
        account.opened_sequence,
    )


def _balance_row(
    book_id: int, account: Account, tails: dict[int, bytes]
) -> tuple[int, int, int, int, int, int, int, int, bytes]:
    return (
        book_id,
        account.account_id,
        account.debits_posted,
        account.credits_posted,
        account.debits_pending,
        account.credits_pending,
        account.overdraft_limit,
        account.account_sequence,
        tails.get(account.account_id, GENESIS_HASH),
    )


def _hold_row(
    book_id: int, hold: Hold
) -> tuple[int, bytes, bytes, bytes, int, bytes, bytes, int, int, int, int, int, int]:
    return (
        book_id,
        hold.hold_id.bytes,
        hold.service.encode(),
        hold.wallet_id.bytes,
        hold.account_id,
        hold.currency.encode(),
        hold.state.value.encode(),
        hold.held_minor,
        hold.captured_minor,
        hold.voided_minor,
        hold.refunded_minor,
        to_micros(hold.expires_at) if hold.expires_at is not None else 0,
        hold.last_sequence,
    )


def _leg_row(book_id: int, leg: CaptureLeg) -> tuple[int, bytes, int, bytes, int, int, int, int, int, int, int]:
    return (
        book_id,
        leg.hold_id.bytes,
        leg.capture_number,
        leg.seller_id.bytes,
        leg.account_id,
        leg.fee_basis_points,
        leg.gross_minor,
        leg.fee_minor,
        leg.gross_refunded_minor,
        leg.fee_returned_minor,
        leg.last_sequence,
    )


def _key_row(
    book_id: int, key: RecordedKey
) -> tuple[int, bytes, bytes, int, bytes, int, bytes, bytes, bytes, bytes | None, int]:
    return (
        book_id,
        key.service.encode(),
        key.idempotency_key.encode(),
        FINGERPRINT_VERSION,
        key.fingerprint,
        key.sequence,
        key.reason.encode(),
        key.message.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore").encode(),
        json.dumps(key.details, sort_keys=True).encode() if key.details else b"",
        _bytes_of(key.hold_id),
        to_micros(key.recorded_at),
    )


def _bytes_of(identifier: UUID | None) -> bytes | None:
    return None if identifier is None else identifier.bytes

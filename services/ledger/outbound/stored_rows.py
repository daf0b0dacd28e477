"""Values made rows of the ledger's tables: each function gives a row's values in the order of its INSERT's columns."""

import json
from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

from services.ledger.domain.account import Account
from services.ledger.domain.canonical import encode_fields
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import GENESIS_HASH
from services.ledger.domain.keys import FINGERPRINT_VERSION, RecordedKey
from services.ledger.domain.proof import SealedRecord
from services.runtime.clock import to_micros

MESSAGE_BYTES_MAX = 512
"""How much of a refusal's sentence is remembered: the column's width."""

_NO_KEY = (None, None, None, None)


def record_row(book_id: int, sealed: SealedRecord) -> tuple[object, ...]:
    """Make a row of `records`."""
    record, key = sealed.record, sealed.record.key
    return (
        book_id,
        record.sequence,
        sealed.kind,
        sealed.recorded_at_micros,
        sealed.effective_at_micros,
        sealed.record_id,
        _bytes_of(record.hold_id),
        record.key_hash,
        *(_NO_KEY if key is None else _key_columns(key)),
        sealed.state_after,
        record.metadata,
        sealed.postings_root,
        sealed.hash,
    )


def posting_rows(book_id: int, records: Iterable[SealedRecord]) -> list[tuple[object, ...]]:
    """Make the rows of `postings`."""
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


def backdated_rows(book_id: int, records: Iterable[SealedRecord]) -> list[tuple[int, int, int, int, int, int, int]]:
    """Make the rows of `backdated`: of the postings whose effective date is not the recorded one."""
    return [
        (
            book_id,
            posting.account_id,
            sealed.effective_at_micros,
            sealed.record.sequence,
            leg,
            sealed.recorded_at_micros,
            posting.amount_minor,
        )
        for sealed in records
        if sealed.effective_at_micros != sealed.recorded_at_micros
        for leg, posting in enumerate(sealed.record.postings)
    ]


def reversal_rows(book_id: int, records: Iterable[SealedRecord]) -> list[tuple[int, int, int]]:
    """Make the rows of `reversals`."""
    return [(book_id, each.record.reverses, each.record.sequence) for each in records if each.record.reverses]


def account_row(book_id: int, account: Account) -> tuple[int, bytes, int, bytes, bytes | None, bytes, int]:
    """Make a row of `accounts`."""
    return (
        book_id,
        account.code.encode(),
        account.account_id,
        account.account_type.value.encode(),
        _bytes_of(account.wallet_id),
        account.currency.encode(),
        account.opened_sequence,
    )


def balance_row(book_id: int, account: Account, tails: dict[int, bytes]) -> tuple[object, ...]:
    """Make a row of `balances`."""
    return (
        book_id,
        account.account_id,
        account.debits_posted,
        account.credits_posted,
        account.debits_pending,
        account.credits_pending,
        account.overdraft_limit,
        account.limit_sequence,
        account.account_sequence,
        tails.get(account.account_id, GENESIS_HASH),
        account.event_sequence,
        account.event_position,
    )


def hold_row(
    book_id: int, hold: Hold
) -> tuple[int, bytes, bytes, bytes, int, bytes, bytes, int, int, int, int, int, int]:
    """Make a row of `holds`."""
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


def expiry_rows(book_id: int, holds: Iterable[Hold]) -> list[tuple[int, int, bytes]]:
    """Make the rows of `hold_expiries` that new holds need: only open ones fall due."""
    return [
        (book_id, to_micros(hold.expires_at), hold.hold_id.bytes)
        for hold in holds
        if hold.state is HoldState.OPEN and hold.expires_at is not None
    ]


def leg_row(book_id: int, leg: CaptureLeg) -> tuple[int, bytes, int, bytes, int, int, int, int, int, int, int, int]:
    """Make a row of `capture_legs`."""
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
        leg.reversed_by,
        leg.last_sequence,
    )


def answer_row(book_id: int, key: RecordedKey) -> tuple[object, ...]:
    """Make a row of `idempotency_keys`, of a key whose answer made no record."""
    columns = (
        book_id,
        *_key_columns(key),
        key.reason.encode(),
        key.message.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore").encode(),
        json.dumps(key.details, sort_keys=True).encode() if key.details else b"",
        _bytes_of(key.hold_id),
        to_micros(key.recorded_at),
    )
    return (*columns, answer_hash(*columns))


def pruned_row(book_id: int, key: RecordedKey) -> tuple[object, ...]:
    """Make what names a row of `idempotency_keys` whose answer is forgotten, and then what it has from now on."""
    _, service, idempotency_key, _, _, reason, message, details, hold_id, recorded_at, digest = answer_row(book_id, key)
    return book_id, service, idempotency_key, recorded_at, reason, message, details, hold_id, digest


def answer_hash(*columns: int | bytes | None) -> bytes:
    """Hash a row of `idempotency_keys`, all columns before the hash: no record's hash covers such an answer."""
    return sha256(encode_fields(*columns)).digest()


def _key_columns(key: RecordedKey) -> tuple[bytes, bytes, int, bytes]:
    return key.service.encode(), key.idempotency_key.encode(), FINGERPRINT_VERSION, key.fingerprint


def _bytes_of(identifier: UUID | None) -> bytes | None:
    return None if identifier is None else identifier.bytes

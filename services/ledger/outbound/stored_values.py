"""Rows of the ledger's tables read back as values; each function beside the columns that it takes, in their order."""

import json

from services.ledger.domain.account import Account, AccountType
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.keys import RecordedKey
from services.runtime.clock import from_micros
from services.runtime.database.port import Row
from services.runtime.ids import id_of_bytes

ACCOUNT_COLUMNS = """
    a.account_id, a.code, a.account_type, a.wallet_id, a.currency, a.opened_sequence, b.debits_posted, b.credits_posted,
    b.debits_pending, b.credits_pending, b.overdraft_limit, b.limit_sequence, b.account_sequence, b.event_sequence,
    b.event_position
"""
"""Columns of `accounts` a and `balances` b that `account_of_row` takes."""

HOLD_COLUMNS = """
    hold_id, service, wallet_id, account_id, currency, state, held, captured, voided, refunded, expires_at,
    last_sequence
"""
"""Columns of `holds` that `hold_of_row` takes."""

LEG_COLUMNS = """
    hold_id, capture_number, seller_id, account_id, fee_basis_points, gross, fee, gross_refunded, fee_returned,
    reversed_by, last_sequence
"""
"""Columns of `capture_legs` that `leg_of_row` takes."""

ANSWERED_COLUMNS = "service, idempotency_key, fingerprint, hold_id, recorded_at, reason, message, details"
"""Columns of `idempotency_keys` that `answered_key_of_row` takes."""

ACCEPTED_COLUMNS = "service, idempotency_key, fingerprint, hold_id, recorded_at, sequence"
"""Columns of `records` that `accepted_key_of_row` takes."""

_ACCOUNT_TYPES = {account_type.value.encode(): account_type for account_type in AccountType}
_HOLD_STATES = {state.value.encode(): state for state in HoldState}


def account_of_row(row: Row) -> Account:
    """Make an account of the values of `ACCOUNT_COLUMNS`; a value that no writer wrote is a ValueError."""
    account_id, code, account_type, wallet_id, currency, opened_sequence, debits_posted, credits_posted, *rest = row
    debits_pending, credits_pending, overdraft_limit, limit_sequence, account_sequence, *event = rest
    return Account(
        account_id=account_id,
        code=code.decode(),
        account_type=_ACCOUNT_TYPES.get(account_type) or AccountType(account_type.decode()),
        wallet_id=id_of_bytes(wallet_id) if wallet_id is not None else None,
        currency=currency.decode(),
        opened_sequence=opened_sequence,
        debits_posted=debits_posted,
        credits_posted=credits_posted,
        debits_pending=debits_pending,
        credits_pending=credits_pending,
        overdraft_limit=overdraft_limit,
        limit_sequence=limit_sequence,
        account_sequence=account_sequence,
        event_sequence=event[0],
        event_position=event[1],
    )


def hold_of_row(row: Row) -> Hold:
    """Make a hold of the values of `HOLD_COLUMNS`; a value that no writer wrote is a ValueError."""
    hold_id, service, wallet_id, account_id, currency, state, held, captured, voided, refunded, expires_at, last = row
    return Hold(
        hold_id=id_of_bytes(hold_id),
        service=service.decode(),
        wallet_id=id_of_bytes(wallet_id),
        account_id=account_id,
        currency=currency.decode(),
        state=_HOLD_STATES.get(state) or HoldState(state.decode()),
        held_minor=held,
        captured_minor=captured,
        voided_minor=voided,
        refunded_minor=refunded,
        expires_at=from_micros(expires_at) if expires_at else None,
        last_sequence=last,
    )


def leg_of_row(row: Row) -> CaptureLeg:
    """Make a capture leg of the values of `LEG_COLUMNS`."""
    hold_id, number, seller_id, account_id, basis_points, gross, fee, gross_refunded, fee_returned = row[:9]
    reversed_by, last_sequence = row[9:11]
    return CaptureLeg(
        hold_id=id_of_bytes(hold_id),
        capture_number=number,
        seller_id=id_of_bytes(seller_id),
        account_id=account_id,
        fee_basis_points=basis_points,
        gross_minor=gross,
        fee_minor=fee,
        gross_refunded_minor=gross_refunded,
        fee_returned_minor=fee_returned,
        reversed_by=reversed_by,
        last_sequence=last_sequence,
    )


def answered_key_of_row(row: Row) -> RecordedKey:
    """Make a key whose answer made no record of the values of `ANSWERED_COLUMNS`."""
    service, key, fingerprint, hold_id, recorded_at, reason, message, details = row
    return RecordedKey(
        service=service.decode(),
        idempotency_key=key.decode(),
        fingerprint=fingerprint,
        sequence=0,
        recorded_at=from_micros(recorded_at),
        hold_id=id_of_bytes(hold_id) if hold_id is not None else None,
        reason=reason.decode(),
        message=message.decode(),
        details=json.loads(details) if details else {},
    )


def accepted_key_of_row(row: Row) -> RecordedKey:
    """Make an accepted key of the values of `ACCEPTED_COLUMNS`."""
    service, key, fingerprint, hold_id, recorded_at, sequence = row
    return RecordedKey(
        service=service.decode(),
        idempotency_key=key.decode(),
        fingerprint=fingerprint,
        sequence=sequence,
        recorded_at=from_micros(recorded_at),
        hold_id=id_of_bytes(hold_id) if hold_id is not None else None,
    )

"""What a record left behind, as canonical bytes: they are stored with it and hashed into the chain.

Version 1: a count of accounts (0 or 1) and the opened account; a count of holds (0 or 1) and the hold; the count of
capture legs and each leg, as changed. Readers of old versions stay.
"""

from dataclasses import dataclass

from services.ledger.domain.account import Account, AccountType
from services.ledger.domain.canonical import Field, FieldReader, encode_fields
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import Record

STATE_VERSION = 1
"""How `encode_state_after` writes now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateAfter:
    """What a record left behind, read back."""

    account: Account | None
    hold: Hold | None
    capture_legs: tuple[CaptureLeg, ...]


def encode_state_after(record: Record) -> bytes:
    """Write what a record left behind."""
    fields: list[Field] = [STATE_VERSION]
    account, hold = record.account, record.hold
    if account is None:
        fields.append(0)
    else:
        fields += (1, account.account_id, account.code, account.account_type.value, account.wallet_id)
        fields += (account.currency, account.opened_sequence, account.overdraft_limit)
    if hold is None:
        fields.append(0)
    else:
        fields += (1, hold.hold_id, hold.service, hold.wallet_id, hold.account_id, hold.currency, hold.state.value)
        fields += (hold.held_minor, hold.captured_minor, hold.voided_minor, hold.refunded_minor)
        fields += (hold.expires_at, hold.last_sequence)
    fields.append(len(record.capture_legs))
    for leg in record.capture_legs:
        fields += (leg.hold_id, leg.capture_number, leg.seller_id, leg.account_id, leg.fee_basis_points)
        fields += (leg.gross_minor, leg.fee_minor, leg.gross_refunded_minor, leg.fee_returned_minor, leg.last_sequence)
    return encode_fields(*fields)


def decode_state_after(content: bytes) -> StateAfter:
    """Read what `encode_state_after` wrote.

    Raises:
        ValueError: These are other bytes.
    """
    reader = FieldReader(content)
    version = reader.integer()
    if version != STATE_VERSION:
        raise ValueError(f"state of version {version} can't be read")
    account = _read_account(reader) if reader.integer() else None
    hold = _read_hold(reader) if reader.integer() else None
    legs = tuple([_read_leg(reader) for _ in range(reader.integer())])
    if not reader.at_end:
        raise ValueError("bytes follow the state")
    return StateAfter(account=account, hold=hold, capture_legs=legs)


def _read_account(reader: FieldReader) -> Account:
    return Account(
        account_id=reader.integer(),
        code=reader.text(),
        account_type=AccountType(reader.text()),
        wallet_id=reader.optional_uuid(),
        currency=reader.text(),
        opened_sequence=reader.integer(),
        overdraft_limit=reader.integer(),
    )


def _read_hold(reader: FieldReader) -> Hold:
    return Hold(
        hold_id=reader.uuid(),
        service=reader.text(),
        wallet_id=reader.uuid(),
        account_id=reader.integer(),
        currency=reader.text(),
        state=HoldState(reader.text()),
        held_minor=reader.integer(),
        captured_minor=reader.integer(),
        voided_minor=reader.integer(),
        refunded_minor=reader.integer(),
        expires_at=reader.optional_instant(),
        last_sequence=reader.integer(),
    )


def _read_leg(reader: FieldReader) -> CaptureLeg:
    return CaptureLeg(
        hold_id=reader.uuid(),
        capture_number=reader.integer(),
        seller_id=reader.uuid(),
        account_id=reader.integer(),
        fee_basis_points=reader.integer(),
        gross_minor=reader.integer(),
        fee_minor=reader.integer(),
        gross_refunded_minor=reader.integer(),
        fee_returned_minor=reader.integer(),
        last_sequence=reader.integer(),
    )

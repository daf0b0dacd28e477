"""What a record left behind, as canonical bytes: they are stored with it and hashed into the chain.

Version 1: a count of accounts (0 or 1) and the opened account; a count of holds (0 or 1) and the hold; the count of
capture legs and each leg, as changed; the sequence of the record that it takes back, or 0. Readers of old versions
stay.
"""

import struct

from msgspec import Struct

from services.ledger.domain.account import Account, AccountType
from services.ledger.domain.canonical import FieldReader, bytes_field, encode_field, encode_fields
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import Record

STATE_VERSION = 1
"""How `encode_state_after` writes now."""

_NONE = encode_field(0)
_ONE = encode_field(1)
_NOTHING = encode_fields(STATE_VERSION, 0, 0, 0, 0)

# Runs of fields of fixed length, packed at once, each with its length before it: the same bytes as `encode_fields`.
_ID = struct.Struct(">I16s").pack
_ID_AND_INTEGER = struct.Struct(">I16sIq").pack
_FOUR_INTEGERS = struct.Struct(">" + "Iq" * 4).pack
_LEG = struct.Struct(">I16sIqI16s" + "Iq" * 8).pack


class StateAfter(Struct, frozen=True, kw_only=True):
    """What a record left behind, read back."""

    account: Account | None
    hold: Hold | None
    capture_legs: tuple[CaptureLeg, ...]
    reverses: int


def encode_state_after(record: Record) -> bytes:
    """Write what a record left behind."""
    account, hold, legs, reverses = record.account, record.hold, record.capture_legs, record.reverses
    if hold is None and account is None and not legs and not reverses:
        return _NOTHING
    return b"".join(
        (
            encode_field(STATE_VERSION),
            _NONE if account is None else _ONE + _encode_account(account),
            _NONE if hold is None else _ONE + _encode_hold(hold),
            encode_field(len(legs)),
            *map(_encode_leg, legs),
            encode_field(reverses),
        )
    )


def _encode_account(account: Account) -> bytes:
    return encode_fields(
        account.account_id,
        account.code,
        account.account_type.value,
        account.wallet_id,
        account.currency,
        account.opened_sequence,
        account.overdraft_limit,
        account.limit_sequence,
    )


def _encode_hold(hold: Hold) -> bytes:
    return b"".join(
        (
            _ID(16, hold.hold_id.bytes),
            bytes_field(hold.service.encode()),
            _ID_AND_INTEGER(16, hold.wallet_id.bytes, 8, hold.account_id),
            bytes_field(hold.currency.encode()),
            bytes_field(hold.state.value.encode()),
            _FOUR_INTEGERS(
                *(8, hold.held_minor, 8, hold.captured_minor),
                *(8, hold.voided_minor, 8, hold.refunded_minor),
            ),
            encode_field(hold.expires_at),
            encode_field(hold.last_sequence),
        )
    )


def _encode_leg(leg: CaptureLeg) -> bytes:
    return _LEG(
        *(16, leg.hold_id.bytes, 8, leg.capture_number, 16, leg.seller_id.bytes),
        *(8, leg.account_id, 8, leg.fee_basis_points, 8, leg.gross_minor, 8, leg.fee_minor),
        *(8, leg.gross_refunded_minor, 8, leg.fee_returned_minor, 8, leg.reversed_by, 8, leg.last_sequence),
    )


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
    reverses = reader.integer()
    if not reader.at_end:
        raise ValueError("bytes follow the state")
    return StateAfter(account=account, hold=hold, capture_legs=legs, reverses=reverses)


def _read_account(reader: FieldReader) -> Account:
    return Account(
        account_id=reader.integer(),
        code=reader.text(),
        account_type=AccountType(reader.text()),
        wallet_id=reader.optional_uuid(),
        currency=reader.text(),
        opened_sequence=reader.integer(),
        overdraft_limit=reader.integer(),
        limit_sequence=reader.integer(),
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
        reversed_by=reader.integer(),
        last_sequence=reader.integer(),
    )

"""Read what a batch names, under the book's lock, with one statement a table however many commands there are."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.ledger.commands.command import Command
from services.ledger.commands.state import BookState
from services.ledger.domain.account import Account, AccountType
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold, HoldState
from services.ledger.domain.journal import Head
from services.ledger.domain.keys import RecordedKey
from services.ledger.outbound.named_rows import NamedRows, add_rows_named_by_holds, rows_named_by
from services.runtime.clock import from_micros
from services.runtime.database.port import Connection, Row

# Finds keys of one service that were used before.
_READ_KEYS = """
    SELECT idempotency_key, fingerprint, sequence, reason, message, details, hold_id, recorded_at
    FROM idempotency_keys WHERE book_id = $1 AND service = $2 AND idempotency_key IN ($in)
"""

HOLD_COLUMNS = """
    hold_id, service, wallet_id, account_id, currency, state, held, captured, voided, refunded, expires_at,
    last_sequence
"""
"""Columns of a row of `holds` that `hold_of_row` takes, in its order."""

# Finds holds and tombstones.
_READ_HOLDS = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id IN ($in)"  # noqa: S608 - a constant

# Finds all that sellers got of the holds: fees are rounded over all captures of a hold.
_READ_LEGS = """
    SELECT hold_id, capture_number, seller_id, account_id, fee_basis_points, gross, fee, gross_refunded, fee_returned,
        last_sequence
    FROM capture_legs WHERE book_id = $1 AND hold_id IN ($in)
"""

# Finds accounts with their balances and the ends of their chains.
_READ_ACCOUNTS = """
    SELECT a.account_id, a.code, a.account_type, a.wallet_id, a.currency, a.opened_sequence, b.debits_posted,
        b.credits_posted, b.debits_pending, b.credits_pending, b.overdraft_limit, b.account_sequence,
        b.last_posting_hash
    FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
    WHERE a.book_id = $1 AND a.code IN ($in)
"""

# Finds the newest event sequence of wallets.
_READ_WALLETS = "SELECT wallet_id, event_sequence FROM wallets WHERE book_id = $1 AND wallet_id IN ($in)"


@dataclass(slots=True)
class LoadedBook:
    """What a batch sees: the state to decide on, and the hash of each account's newest posting by account id."""

    state: BookState
    tails: dict[int, bytes]


async def read_book(connection: Connection, head: Head, commands: Sequence[Command]) -> LoadedBook:
    """Read exactly what the commands name. The book's lock is held."""
    named = rows_named_by(commands)
    state = BookState(
        last_sequence=head.last_sequence,
        last_recorded_at=head.last_recorded_at,
        last_account_id=head.last_account_id,
    )
    await _read_keys(connection, head.book_id, named, state)
    await _read_holds(connection, head.book_id, named, state)
    add_rows_named_by_holds(named, commands, state.holds)
    tails = await _read_accounts(connection, head.book_id, named, state)
    await _read_wallets(connection, head.book_id, named, state)
    return LoadedBook(state, tails)


async def _read_keys(connection: Connection, book_id: int, named: NamedRows, state: BookState) -> None:
    for service, keys in named.keys.items():
        encoded = [key.encode() for key in keys]
        for row in await connection.fetch_in(_READ_KEYS, encoded, book_id, service.encode()):
            key = _key_of_row(service, row)
            state.keys[service, key.idempotency_key] = key


async def _read_holds(connection: Connection, book_id: int, named: NamedRows, state: BookState) -> None:
    for row in await connection.fetch_in(_READ_HOLDS, [hold_id.bytes for hold_id in named.holds], book_id):
        hold = hold_of_row(row)
        state.holds[hold.hold_id] = hold
    captured = [hold_id.bytes for hold_id in named.holds_with_legs if hold_id in state.holds]
    for row in await connection.fetch_in(_READ_LEGS, captured, book_id):
        state.absorb_leg(_leg_of_row(row))


async def _read_accounts(connection: Connection, book_id: int, named: NamedRows, state: BookState) -> dict[int, bytes]:
    tails = {}
    for row in await connection.fetch_in(_READ_ACCOUNTS, [code.encode() for code in named.accounts], book_id):
        account = _account_of_row(row)
        state.accounts[account.code] = account
        tails[account.account_id] = row[12]
    return tails


async def _read_wallets(connection: Connection, book_id: int, named: NamedRows, state: BookState) -> None:
    state.wallets = dict.fromkeys(named.wallets, 0)
    encoded = [wallet_id.bytes for wallet_id in named.wallets]
    for wallet_id, event_sequence in await connection.fetch_in(_READ_WALLETS, encoded, book_id):
        state.wallets[UUID(bytes=wallet_id)] = event_sequence


def hold_of_row(row: Row) -> Hold:
    """Make a hold of the values of `HOLD_COLUMNS`."""
    hold_id, service, wallet_id, account_id, currency, state, held, captured, voided, refunded, expires_at, last = row
    return Hold(
        hold_id=UUID(bytes=hold_id),
        service=service.decode(),
        wallet_id=UUID(bytes=wallet_id),
        account_id=account_id,
        currency=currency.decode(),
        state=HoldState(state.decode()),
        held_minor=held,
        captured_minor=captured,
        voided_minor=voided,
        refunded_minor=refunded,
        expires_at=from_micros(expires_at) if expires_at else None,
        last_sequence=last,
    )


def _key_of_row(service: str, row: Row) -> RecordedKey:
    key, fingerprint, sequence, reason, message, details, hold_id, recorded_at = row
    return RecordedKey(
        service=service,
        idempotency_key=key.decode(),
        fingerprint=fingerprint,
        sequence=sequence,
        recorded_at=from_micros(recorded_at),
        hold_id=UUID(bytes=hold_id) if hold_id is not None else None,
        reason=reason.decode(),
        message=message.decode(),
        details=json.loads(details) if details else {},
    )


def _leg_of_row(row: Row) -> CaptureLeg:
    hold_id, number, seller_id, account_id, basis_points, gross, fee, gross_refunded, fee_returned, last = row
    return CaptureLeg(
        hold_id=UUID(bytes=hold_id),
        capture_number=number,
        seller_id=UUID(bytes=seller_id),
        account_id=account_id,
        fee_basis_points=basis_points,
        gross_minor=gross,
        fee_minor=fee,
        gross_refunded_minor=gross_refunded,
        fee_returned_minor=fee_returned,
        last_sequence=last,
    )


def _account_of_row(row: Row) -> Account:
    account_id, code, account_type, wallet_id, currency, opened_sequence = row[:6]
    debits_posted, credits_posted, debits_pending, credits_pending, overdraft_limit, account_sequence = row[6:12]
    return Account(
        account_id=account_id,
        code=code.decode(),
        account_type=AccountType(account_type.decode()),
        wallet_id=UUID(bytes=wallet_id) if wallet_id is not None else None,
        currency=currency.decode(),
        opened_sequence=opened_sequence,
        debits_posted=debits_posted,
        credits_posted=credits_posted,
        debits_pending=debits_pending,
        credits_pending=credits_pending,
        overdraft_limit=overdraft_limit,
        account_sequence=account_sequence,
    )

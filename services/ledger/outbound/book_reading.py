"""Read what a batch names, under the book's lock: the lock and all that is named go in one round trip.

What only the rows read so far can name takes a second one: the wallet of a hold that expires, the accounts of a refund
or of a record that is taken back.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from msgspec.structs import replace

from services.ledger.commands.command import Command
from services.ledger.commands.state import BookState, KeyScope
from services.ledger.domain.account import Account, AccountType, wallet_account_code
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import Head, JournalEntry, RecordKind
from services.ledger.domain.keys import RecordedKey
from services.ledger.domain.state_after import decode_state_after
from services.ledger.outbound.book_head import head_of_rows, lock_head_query
from services.ledger.outbound.named_rows import NamedRows, rows_named_by_holds
from services.ledger.outbound.stored_values import (
    ACCEPTED_COLUMNS,
    ACCOUNT_COLUMNS,
    ANSWERED_COLUMNS,
    HOLD_COLUMNS,
    LEG_COLUMNS,
    accepted_key_of_row,
    account_of_row,
    answered_key_of_row,
    hold_of_row,
    leg_of_row,
)
from services.runtime.database.port import Connection, Query, Row

# Finds keys of one service whose answer made no record.
_READ_ANSWERED = f"""
    SELECT {ANSWERED_COLUMNS} FROM idempotency_keys WHERE book_id = $1 AND service = $2 AND idempotency_key IN ($in)
"""  # noqa: S608 - a constant

# Finds accepted keys of one service, by `records_by_key`.
_READ_ACCEPTED = f"""
    SELECT {ACCEPTED_COLUMNS} FROM records WHERE book_id = $1 AND service = $2 AND idempotency_key IN ($in)
"""  # noqa: S608 - a constant

# Finds holds and tombstones.
_READ_HOLDS = f"SELECT {HOLD_COLUMNS} FROM holds WHERE book_id = $1 AND hold_id IN ($in)"  # noqa: S608 - a constant

# Finds all that sellers got of the holds: fees are rounded over all captures of a hold.
_READ_LEGS = f"SELECT {LEG_COLUMNS} FROM capture_legs WHERE book_id = $1 AND hold_id IN ($in)"  # noqa: S608 - a constant

_READ_ACCOUNTS = f"""
    SELECT {ACCOUNT_COLUMNS}, b.last_posting_hash
    FROM accounts a JOIN balances b ON b.book_id = a.book_id AND b.account_id = a.account_id
"""  # noqa: S608 - a constant

# Finds all accounts of wallets, by `accounts_by_wallet`: the newest event's number may lie with any of them.
_READ_ACCOUNTS_OF_WALLETS = f"{_READ_ACCOUNTS} WHERE a.book_id = $1 AND a.wallet_id IN ($in)"

# Finds accounts by their codes.
_READ_ACCOUNTS_BY_CODE = f"{_READ_ACCOUNTS} WHERE a.book_id = $1 AND a.code IN ($in)"

# Finds records that are to be taken back, and those that took them back.
_READ_ENTRIES = """
    SELECT r.sequence, r.kind, r.hold_id, r.state_after, v.reversed_by
    FROM records r LEFT JOIN reversals v ON v.book_id = r.book_id AND v.sequence = r.sequence
    WHERE r.book_id = $1 AND r.sequence IN ($in)
"""

# Finds their postings, with the accounts' names.
_READ_ENTRY_POSTINGS = """
    SELECT p.sequence, p.leg, p.amount, a.code, a.wallet_id, a.currency
    FROM postings p JOIN accounts a ON a.book_id = p.book_id AND a.account_id = p.account_id
    WHERE p.book_id = $1 AND p.sequence IN ($in)
"""


@dataclass(slots=True)
class BookRows:
    """What was read, as values. `tails` has the hash of each account's newest posting, by account id.

    `touched` has code, wallet and currency of the accounts that the entries' postings name, and of a capture's sellers,
    to whom the fee may have left nothing to post.
    """

    accounts: list[Account] = field(default_factory=list)
    tails: dict[int, bytes] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    legs: list[CaptureLeg] = field(default_factory=list)
    keys: list[RecordedKey] = field(default_factory=list)
    entries: dict[int, JournalEntry] = field(default_factory=dict)
    touched: dict[str, tuple[UUID | None, str]] = field(default_factory=dict)


@dataclass(slots=True)
class LoadedBook:
    """What a batch sees: the state to decide on, and the hash of each account's newest posting by account id."""

    state: BookState
    tails: dict[int, bytes] = field(default_factory=dict)

    def take_in(self, named: NamedRows, rows: BookRows) -> None:
        """Add rows to the state; of what is `named` and was not found it is known from now on that it isn't there."""
        state = self.state
        for wallet_id in named.wallets:
            state.wallets.setdefault(wallet_id, "")
        for account in rows.accounts:
            state.accounts[account.code] = account
            if account.wallet_id is not None:
                newest = state.newest_account_of(account.wallet_id)
                if newest is None or account.event_sequence > newest.event_sequence:
                    state.wallets[account.wallet_id] = account.code
        self.tails.update(rows.tails)
        state.holds.update(rows.holds)
        for leg in rows.legs:
            state.absorb_leg(leg)
        for key in rows.keys:
            state.keys[key.service, key.idempotency_key] = key
        state.entries.update(rows.entries)


def book_at(head: Head) -> LoadedBook:
    """Begin with nothing but the head."""
    return LoadedBook(
        BookState(
            last_sequence=head.last_sequence,
            last_recorded_at=head.last_recorded_at,
            last_account_id=head.last_account_id,
            last_event_sequence=head.last_event_sequence,
        )
    )


async def lock_and_read_rows(
    connection: Connection, book_id: int, named: NamedRows, *, read_keys: bool
) -> tuple[Head, BookRows]:
    """Lock the book until the transaction ends and read rows, in one round trip.

    Args:
        connection: A transaction in which nothing was read yet: it might be older than what the lock waits for.
        book_id: Which book.
        named: What to read.
        read_keys: Whether accepted keys are looked for too. Without, a repeated command looks new: its record fails
            at the unique index over keys, and any other answer than a record must not be given.
    """
    readings = _readings(book_id, named, read_keys=read_keys)
    found = await connection.fetch_together([lock_head_query(book_id), *[query for query, _ in readings]])
    return head_of_rows(book_id, found[0]), _taken(readings, found[1:])


async def read_rows(connection: Connection, book_id: int, named: NamedRows, *, read_keys: bool) -> BookRows:
    """Read rows in one round trip; the book's lock is held. See `lock_and_read_rows`."""
    readings = _readings(book_id, named, read_keys=read_keys)
    return _taken(readings, await connection.fetch_together([query for query, _ in readings]))


def answered_keys_queries(book_id: int, scopes: Iterable[KeyScope]) -> list[Query]:
    """Make the SELECTs that find keys whose answer made no record; there are few of them."""
    return _key_queries(_READ_ANSWERED, book_id, scopes)


def accepted_keys_queries(book_id: int, scopes: Iterable[KeyScope]) -> list[Query]:
    """Make the SELECTs that find accepted keys."""
    return _key_queries(_READ_ACCEPTED, book_id, scopes)


def existing_holds_queries(book_id: int, hold_ids: Sequence[UUID]) -> list[Query]:
    """Make the SELECT that finds holds which were assumed new."""
    return [Query(_READ_HOLDS, (book_id,), [hold_id.bytes for hold_id in hold_ids])] if hold_ids else []


def rows_named_further(commands: Iterable[Command], rows: BookRows) -> NamedRows:
    """List what the rows of a first reading name and that reading can't have had."""
    further = rows_named_by_holds(commands, rows.holds)
    for entry in rows.entries.values():
        if entry.kind is RecordKind.CAPTURE and entry.hold_id is not None:
            further.holds[entry.hold_id] = further.holds_with_legs[entry.hold_id] = None
    for code, (wallet_id, currency) in rows.touched.items():
        further.add_system_account(AccountType.REVENUE, currency)
        if wallet_id is None:
            further.codes[code] = None
        else:
            further.add_refunded_seller(wallet_id, currency)
    return further


_Taker = Callable[[BookRows, list[Row]], None]


def _readings(book_id: int, named: NamedRows, *, read_keys: bool) -> list[tuple[Query, _Taker]]:
    """List the SELECTs of what is named, each with the function that takes its rows."""
    readings: list[tuple[Query, _Taker]] = []

    def read(sql: str, names: Sequence[object], taker: _Taker) -> None:
        if names:
            readings.append((Query(sql, (book_id,), names), taker))

    readings += [(query, _take_answered) for query in answered_keys_queries(book_id, named.keys)]
    if read_keys:
        readings += [(query, _take_accepted) for query in accepted_keys_queries(book_id, named.keys)]
    read(_READ_HOLDS, [hold_id.bytes for hold_id in named.holds], _take_holds)
    read(_READ_LEGS, [hold_id.bytes for hold_id in named.holds_with_legs], _take_legs)
    read(_READ_ACCOUNTS_OF_WALLETS, [wallet_id.bytes for wallet_id in named.wallets], _take_accounts)
    read(_READ_ACCOUNTS_BY_CODE, [code.encode() for code in named.codes], _take_accounts)
    read(_READ_ENTRIES, list(named.entries), _take_entries)
    read(_READ_ENTRY_POSTINGS, list(named.entries), _take_entry_postings)
    return readings


def _taken(readings: Iterable[tuple[Query, _Taker]], found: Iterable[list[Row]]) -> BookRows:
    rows = BookRows()
    for (_, taker), some in zip(readings, found, strict=True):
        taker(rows, some)
    return rows


def _key_queries(sql: str, book_id: int, scopes: Iterable[KeyScope]) -> list[Query]:
    keys: dict[str, list[bytes]] = {}
    for service, key in scopes:
        keys.setdefault(service, []).append(key.encode())
    return [Query(sql, (book_id, service.encode()), some) for service, some in keys.items()]


def _take_answered(rows: BookRows, found: list[Row]) -> None:
    rows.keys += map(answered_key_of_row, found)


def _take_accepted(rows: BookRows, found: list[Row]) -> None:
    rows.keys += map(accepted_key_of_row, found)


def _take_holds(rows: BookRows, found: list[Row]) -> None:
    for hold in map(hold_of_row, found):
        rows.holds[hold.hold_id] = hold


def _take_legs(rows: BookRows, found: list[Row]) -> None:
    rows.legs += map(leg_of_row, found)


def _take_accounts(rows: BookRows, found: list[Row]) -> None:
    for *columns, last_posting_hash in found:
        account = account_of_row(tuple(columns))
        rows.accounts.append(account)
        rows.tails[account.account_id] = last_posting_hash


def _take_entries(rows: BookRows, found: list[Row]) -> None:
    for sequence, kind, hold_id, state_after, reversed_by in found:
        after = decode_state_after(state_after)
        legs = after.capture_legs
        if after.hold is not None:
            for leg in legs:
                code = wallet_account_code(leg.seller_id, after.hold.currency)
                rows.touched[code] = (leg.seller_id, after.hold.currency)
        rows.entries[sequence] = JournalEntry(
            sequence=sequence,
            kind=RecordKind(kind.decode()),
            hold_id=UUID(bytes=hold_id) if hold_id is not None else None,
            capture_number=legs[0].capture_number if legs else 0,
            postings=(),
            reversed_by=reversed_by or 0,
        )


def _take_entry_postings(rows: BookRows, found: list[Row]) -> None:
    for sequence, _, amount, code, wallet_id, currency in sorted(found, key=lambda row: (row[0], row[1])):
        name = code.decode()
        entry = rows.entries[sequence]
        rows.entries[sequence] = replace(entry, postings=(*entry.postings, (name, amount)))
        rows.touched[name] = (UUID(bytes=wallet_id) if wallet_id is not None else None, currency.decode())

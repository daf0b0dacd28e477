"""Make a statement that proves itself, of a wallet's account and a range of its postings.

It ends at the newest signed head: postings behind that are in the next statement, a few seconds later.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from uuid import UUID

import structlog
from msgspec.structs import replace

from services.ledger.domain.account import wallet_account_code
from services.ledger.domain.journal import GENESIS_HASH
from services.ledger.proof.head_rows import newest_head, public_keys
from services.ledger.proof.heads import PublicJwk, SignedHead
from services.ledger.proof.key_folder import SigningKey, SigningKeysError, read_signing_keys
from services.ledger.proof.record_rows import DETAILS_COLUMNS, details_hash_of_row
from services.ledger.proof.statement_document import (
    FORMAT,
    Assertion,
    OwnPosting,
    StatementAccount,
    StatementDocument,
    StatementLine,
    assertion_message,
    encode_statement,
)
from services.ledger.proof.tree import TreeReader
from services.ledger.queries.book import Book
from services.runtime.clock import Clock, from_micros, to_micros
from services.runtime.database.port import Connection, Row
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError

logger = structlog.get_logger(__name__)

ROWS_MAX = 1_000
"""Rows of one statement that a door gives out: some 2 MiB. Longer ones are made of several ranges."""

_ACCOUNT = "SELECT account_id FROM accounts WHERE book_id = $1 AND code = $2"

# The account's last posting within the tree.
_LAST_POSTING = """
    SELECT account_sequence, balance_after, hash FROM postings
    WHERE book_id = $1 AND account_id = $2 AND sequence <= $3
    ORDER BY account_sequence DESC LIMIT 1
"""

_POSTING_HASH = "SELECT hash FROM postings WHERE book_id = $1 AND account_id = $2 AND account_sequence = $3"

# The account's postings in a range, and the place of each in its record.
_OWN_POSTINGS = """
    SELECT sequence, leg, account_sequence, amount, balance_after, salt, hash FROM postings
    WHERE book_id = $1 AND account_id = $2 AND account_sequence >= $3 AND account_sequence <= $4
    ORDER BY account_sequence
"""

# All postings of their records, as hashes.
_LEG_HASHES = "SELECT sequence, hash FROM postings WHERE book_id = $1 AND sequence IN ($in) ORDER BY sequence, leg"

# Their records.
_RECORDS = f"""
    SELECT sequence, kind, recorded_at, effective_at, hold_id, {DETAILS_COLUMNS} FROM records
    WHERE book_id = $1 AND sequence IN ($in)
"""  # noqa: S608 - a constant

_RECORD_HASHES = "SELECT sequence, hash FROM records WHERE book_id = $1 AND sequence IN ($in)"


class StatementMaker:
    """Makes statements of one book, signed with the keys of a folder."""

    def __init__(self, book: Book, clock: Clock, *, keys_folder: Path | None) -> None:
        """Read the book; without a folder every call is refused."""
        self._book = book
        self._clock = clock
        self._keys_folder = keys_folder

    async def make(
        self,
        wallet_id: UUID,
        currency: str,
        *,
        from_account_sequence: int = 1,
        to_account_sequence: int = 0,
        rows_max: int = ROWS_MAX,
    ) -> bytes:
        """Make the file for the rows of a range; a `to_account_sequence` of 0 means all up to the head.

        Raises:
            NotFoundError: The wallet has no account in that currency (`account_not_open`).
            InvalidArgumentError: The range begins beyond the account's end (`statement_range_malformed`) or is longer
                than `rows_max` (`statement_range_too_large`).
            UnavailableError: There is no signed head yet, or no key that can sign now (`head_not_signed`).
        """
        async with self._book.database.snapshot() as connection:
            head = await newest_head(connection, self._book.book_id)
            keys = await public_keys(connection, self._book.book_id)
            signer = self._signer(keys)
            if head is None or signer is None:
                raise UnavailableError("No head of the book is signed yet.", reason="head_not_signed")
            account = await self._account(connection, wallet_id, currency)
            last = await self._last_posting(connection, account, head)
            to = min(to_account_sequence or last[0], last[0])
            _check_range(from_account_sequence, to, last[0], rows_max)
            lines = await self._lines(connection, head, account, from_account_sequence, to)
        document = StatementDocument(
            format=FORMAT,
            book_id=self._book.book_id,
            account=account,
            from_account_sequence=from_account_sequence,
            to_account_sequence=to,
            lines=lines,
            head=head,
            assertion=self._assertion(signer, head, last),
            keys=keys,
        )
        return encode_statement(_signed(document, signer))

    def _signer(self, keys: Sequence[PublicJwk]) -> SigningKey | None:
        """Choose the newest introduced key that is at hand.

        Raises:
            UnavailableError: The folder can't be used now (`head_not_signed`); the log tells whoever can mend it why.
        """
        if self._keys_folder is None:
            return None
        try:
            at_hand = read_signing_keys(self._keys_folder)
        except (SigningKeysError, OSError) as error:
            logger.warning("statement_not_signed", folder=str(self._keys_folder), error=str(error))
            raise UnavailableError("The ledger can't sign now.", reason="head_not_signed") from error
        return next((key for jwk in reversed(keys) if (key := at_hand.find(jwk.kid)) and key.is_active), None)

    async def _account(self, connection: Connection, wallet_id: UUID, currency: str) -> StatementAccount:
        code = wallet_account_code(wallet_id, currency).encode()
        rows = await connection.fetch(_ACCOUNT, self._book.book_id, code)
        if not rows:
            raise NotFoundError(f"The wallet has no account in {currency}.", reason="account_not_open")
        return StatementAccount(account_id=rows[0][0], wallet_id=wallet_id, currency=currency)

    async def _last_posting(self, connection: Connection, account: StatementAccount, head: SignedHead) -> Row:
        rows = await connection.fetch(_LAST_POSTING, self._book.book_id, account.account_id, head.tree_size)
        return rows[0] if rows else (0, 0, GENESIS_HASH)

    def _assertion(self, signer: SigningKey, head: SignedHead, last: Row) -> Assertion:
        last_account_sequence, balance_minor, last_posting_hash = last
        return Assertion(
            tree_size=head.tree_size,
            root=head.root,
            last_account_sequence=last_account_sequence,
            balance_minor=balance_minor,
            last_posting_hash=last_posting_hash,
            asserted_at=from_micros(to_micros(self._clock.now())),
            key_id=signer.key_id,
            signature=b"",
        )

    async def _lines(
        self, connection: Connection, head: SignedHead, account: StatementAccount, first: int, last: int
    ) -> list[StatementLine]:
        book_id, tree = self._book.book_id, TreeReader(connection, self._book.book_id, head.tree_size)
        own = await connection.fetch(_OWN_POSTINGS, book_id, account.account_id, first, last)
        before = await connection.fetch(_POSTING_HASH, book_id, account.account_id, first - 1)
        tail: bytes = before[0][0] if before else GENESIS_HASH
        by_record = {sequence: list(rows) for sequence, rows in groupby(own, key=lambda row: row[0])}
        legs = await self._legs(connection, list(by_record))
        hashes: dict[int, bytes] = dict(
            await connection.fetch_in(_RECORD_HASHES, [sequence - 1 for sequence in by_record if sequence > 1], book_id)
        )
        lines = []
        for record in sorted(await connection.fetch_in(_RECORDS, list(by_record), book_id)):
            sequence = record[0]
            for row in by_record[sequence]:
                legs[sequence][row[1]] = _own_posting(row, tail)
                tail = row[6]
            path = await tree.inclusion_path(sequence)
            await asyncio.sleep(0)  # a long statement must not hold up the ledger
            lines.append(_line(record, legs[sequence], hashes.get(sequence - 1, GENESIS_HASH), path))
        return lines

    async def _legs(self, connection: Connection, sequences: Sequence[int]) -> dict[int, list[bytes | OwnPosting]]:
        legs: dict[int, list[bytes | OwnPosting]] = defaultdict(list)
        for sequence, digest in await connection.fetch_in(_LEG_HASHES, sequences, self._book.book_id):
            legs[sequence].append(digest)
        return legs


def _check_range(first: int, to: int, last: int, rows_max: int) -> None:
    if not 1 <= first <= last + 1:
        raise InvalidArgumentError(
            f"The account has {last} rows at the newest head.", reason="statement_range_malformed"
        )
    if to - first + 1 > rows_max:
        raise InvalidArgumentError(
            f"A statement has {rows_max} rows at most: ask for a range.", reason="statement_range_too_large"
        )


def _own_posting(row: Row, previous_hash: bytes) -> OwnPosting:
    _, _, account_sequence, amount, balance_after, salt, _ = row
    return OwnPosting(
        account_sequence=account_sequence,
        amount_minor=amount,
        balance_minor=balance_after,
        salt=salt,
        previous_hash=previous_hash,
    )


def _line(record: Row, legs: list[bytes | OwnPosting], previous_hash: bytes, path: list[bytes]) -> StatementLine:
    sequence, kind, recorded_at, effective_at, hold_id, *details = record
    return StatementLine(
        sequence=sequence,
        kind=kind.decode(),
        recorded_at=from_micros(recorded_at),
        effective_at=from_micros(effective_at),
        order_id=UUID(bytes=hold_id) if hold_id is not None else None,
        legs=legs,
        details_hash=details_hash_of_row(details),
        previous_hash=previous_hash,
        path=path,
    )


def _signed(document: StatementDocument, signer: SigningKey) -> StatementDocument:
    signature = signer.sign(assertion_message(document))
    return replace(document, assertion=replace(document.assertion, signature=signature))

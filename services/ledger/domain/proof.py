"""The proof: each record is hashed over the one before it, each posting over the account's one before it.

Version 1. A posting's hash is an RFC 9162 leaf hash over its canonical bytes, salted, so that a statement can prove a
posting without showing other parties'. A record's hash covers the Merkle root of its postings' hashes. The encoders
never change: a new layout is a new version, and the old one stays to verify what it sealed.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from services.ledger.domain.canonical import encode_fields, micros_of
from services.ledger.domain.journal import GENESIS_HASH, Posting, Record
from services.ledger.domain.merkle import LEAF_PREFIX, merkle_root
from services.ledger.domain.state_after import encode_state_after

PROOF_VERSION = 1
"""The layout that records are sealed with now."""

SALT_BYTES = 16
"""Bytes of a posting's salt: amounts are guessable, 128 bits are not."""

_RECORD_ID_RANDOM_BYTES = 10
_POSTING = struct.Struct(">" + "Iq" * 8 + "I16sI32s").pack


def posting_hash(
    *, book_id: int, sequence: int, leg: int, posting: Posting, salt: bytes, previous_hash: bytes
) -> bytes:
    """Hash a posting: version, book, record, leg (from 0), account, its place there, amount, balance, salt, previous.

    Eight integers and two fields of fixed length, packed at once: the same bytes as `encode_fields` writes.
    """
    content = _POSTING(
        *(8, PROOF_VERSION, 8, book_id, 8, sequence, 8, leg),
        *(8, posting.account_id, 8, posting.account_sequence, 8, posting.amount_minor),
        *(8, posting.balance_after_minor, SALT_BYTES, salt, len(GENESIS_HASH), previous_hash),
    )
    return sha256(LEAF_PREFIX + content).digest()


def record_hash(
    *,
    book_id: int,
    sequence: int,
    kind: str,
    record_id: bytes,
    hold_id: UUID | None,
    recorded_at: datetime,
    effective_at: datetime,
    key_hash: bytes,
    state_after: bytes,
    metadata: bytes,
    postings_root: bytes,
    previous_hash: bytes,
) -> bytes:
    """Hash a record and, by `previous_hash`, all before it."""
    return sha256(
        encode_fields(
            PROOF_VERSION,
            book_id,
            sequence,
            kind,
            record_id,
            hold_id,
            recorded_at,
            effective_at,
            key_hash,
            state_after,
            metadata,
            postings_root,
            previous_hash,
        )
    ).digest()


@dataclass(frozen=True, slots=True)
class SealedPosting:
    """A posting and its place in the account's chain."""

    posting: Posting
    salt: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord:
    """A record and its place in the book's chain. `record_id` is a UUIDv7's 16 bytes."""

    record: Record
    record_id: bytes
    state_after: bytes
    postings: tuple[SealedPosting, ...]
    postings_root: bytes
    hash: bytes


class Sealer:
    """Chains the records of one batch, in their order.

    `tails` holds the hash of each account's newest posting, by account id; it ends as the batch leaves it.
    """

    def __init__(
        self, *, book_id: int, last_hash: bytes, tails: dict[int, bytes], random_bytes: Callable[[int], bytes]
    ) -> None:
        """Begin where the book ends."""
        self._book_id = book_id
        self._random_bytes = random_bytes
        self.last_hash = last_hash
        self.tails = tails

    def seal(self, records: Sequence[Record]) -> list[SealedRecord]:
        """Chain the records."""
        salts = sum([len(record.postings) for record in records]) * SALT_BYTES
        noise = self._random_bytes(salts + len(records) * _RECORD_ID_RANDOM_BYTES)
        sealed, at = [], 0
        for record in records:
            end = at + len(record.postings) * SALT_BYTES
            postings = self._seal_postings(record, noise[at:end])
            at = end + _RECORD_ID_RANDOM_BYTES
            sealed.append(self._seal_record(record, postings, noise[end:at]))
        return sealed

    def _seal_postings(self, record: Record, salts: bytes) -> tuple[SealedPosting, ...]:
        sealed = []
        for leg, posting in enumerate(record.postings):
            salt = salts[leg * SALT_BYTES : (leg + 1) * SALT_BYTES]
            digest = posting_hash(
                book_id=self._book_id,
                sequence=record.sequence,
                leg=leg,
                posting=posting,
                salt=salt,
                previous_hash=self.tails.get(posting.account_id, GENESIS_HASH),
            )
            self.tails[posting.account_id] = digest
            sealed.append(SealedPosting(posting, salt, digest))
        return tuple(sealed)

    def _seal_record(self, record: Record, postings: tuple[SealedPosting, ...], random: bytes) -> SealedRecord:
        record_id = uuid7_bytes(record.recorded_at, random)
        state_after = encode_state_after(record)
        root = merkle_root([posting.hash for posting in postings])
        self.last_hash = record_hash(
            book_id=self._book_id,
            sequence=record.sequence,
            kind=record.kind.value,
            record_id=record_id,
            hold_id=record.hold_id,
            recorded_at=record.recorded_at,
            effective_at=record.effective_at,
            key_hash=record.key_hash,
            state_after=state_after,
            metadata=record.metadata,
            postings_root=root,
            previous_hash=self.last_hash,
        )
        return SealedRecord(
            record=record,
            record_id=record_id,
            state_after=state_after,
            postings=postings,
            postings_root=root,
            hash=self.last_hash,
        )


def uuid7_bytes(instant: datetime, random: bytes) -> bytes:
    """Make a UUIDv7 of an instant and 10 random bytes. Source: RFC 9562, 5.7."""
    milliseconds = micros_of(instant) // 1000
    versioned = bytes([0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F])
    return milliseconds.to_bytes(6, "big") + versioned + random[3:]

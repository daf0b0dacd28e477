"""The proof: each record is hashed over the one before it, each posting over the account's one before it.

Version 1. A posting's hash is an RFC 9162 leaf hash over its canonical bytes, salted, so that a statement can prove a
posting without showing other parties'. A record's hash covers the Merkle root of its postings' hashes. The encoders
never change: a new layout is a new version, and the old one stays to verify what it sealed.
"""

import struct
from collections.abc import Callable, Sequence
from hashlib import sha256

from msgspec import Struct

from services.ledger.domain.canonical import bytes_field, encode_field
from services.ledger.domain.journal import GENESIS_HASH, Posting, Record
from services.ledger.domain.keys import FINGERPRINT_VERSION
from services.ledger.domain.merkle import LEAF_PREFIX, merkle_root
from services.ledger.domain.state_after import encode_state_after
from services.runtime.clock import to_micros

PROOF_VERSION = 1
"""The layout that records are sealed with now."""

SALT_BYTES = 16
"""Bytes of a posting's salt: amounts are guessable, 128 bits are not."""

_RECORD_ID_RANDOM_BYTES = 10
_UUID7_MARKS = 0x7 << 76 | 0x2 << 62
_UUID7_RANDOM = (1 << 80) - 1 & ~(0xF << 76 | 0x3 << 62)

# Runs of fields of fixed length, packed at once, each with its length before it: the same bytes as `encode_fields`.
_POSTING = struct.Struct(">" + "Iq" * 8 + "I16sI32s").pack
_PLACE = struct.Struct(">" + "Iq" * 3).pack
_TIMES_AND_HASHES = struct.Struct(">" + "Iq" * 2 + "I32s" * 3).pack
_IDENTITY = struct.Struct(">IqI16sI32s").pack


def posting_hash(
    *, book_id: int, sequence: int, leg: int, posting: Posting, salt: bytes, previous_hash: bytes
) -> bytes:
    """Hash a posting: version, book, record, leg from 0, account, its place there, amount, balance, salt, previous."""
    content = _POSTING(
        *(8, PROOF_VERSION, 8, book_id, 8, sequence, 8, leg),
        *(8, posting.account_id, 8, posting.account_sequence, 8, posting.amount_minor),
        *(8, posting.balance_after_minor, SALT_BYTES, salt, len(GENESIS_HASH), previous_hash),
    )
    return sha256(LEAF_PREFIX + content).digest()


def details_hash(
    *,
    record_id: bytes,
    key_hash: bytes,
    fingerprint_version: int | None,
    fingerprint: bytes | None,
    state_after: bytes,
    metadata: bytes,
) -> bytes:
    """Hash what a statement must not show, since it may name others; the record id's 74 random bits are its salt.

    The fingerprint is absent in records that no key's answer is.
    """
    content = (
        _IDENTITY(8, PROOF_VERSION, len(record_id), record_id, len(key_hash), key_hash),
        encode_field(fingerprint_version),
        bytes_field(fingerprint),
        bytes_field(state_after),
        bytes_field(metadata),
    )
    return sha256(b"".join(content)).digest()


def record_hash(
    *,
    book_id: int,
    sequence: int,
    kind: bytes,
    hold_id: bytes | None,
    recorded_at_micros: int,
    effective_at_micros: int,
    details_hash: bytes,
    postings_root: bytes,
    previous_hash: bytes,
) -> bytes:
    """Hash a record and, by `previous_hash`, all before it; the values are as the journal's columns have them."""
    content = (
        _PLACE(8, PROOF_VERSION, 8, book_id, 8, sequence),
        bytes_field(kind),
        bytes_field(hold_id),
        _TIMES_AND_HASHES(
            *(8, recorded_at_micros, 8, effective_at_micros, len(details_hash), details_hash),
            *(len(postings_root), postings_root, len(previous_hash), previous_hash),
        ),
    )
    return sha256(b"".join(content)).digest()


class SealedPosting(Struct, frozen=True, gc=False):
    """A posting and its place in the account's chain."""

    posting: Posting
    salt: bytes
    hash: bytes


class SealedRecord(Struct, frozen=True, kw_only=True, gc=False):
    """A record and its place in the book's chain. `record_id` is a UUIDv7's 16 bytes."""

    record: Record
    kind: bytes
    recorded_at_micros: int
    effective_at_micros: int
    record_id: bytes
    state_after: bytes
    postings: list[SealedPosting]
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

    def _seal_postings(self, record: Record, salts: bytes) -> list[SealedPosting]:
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
        return sealed

    def _seal_record(self, record: Record, postings: list[SealedPosting], random: bytes) -> SealedRecord:
        recorded_at = effective_at = to_micros(record.recorded_at)
        if record.effective_at is not record.recorded_at:
            effective_at = to_micros(record.effective_at)
        record_id, key = uuid7_bytes(recorded_at, random), record.key
        kind, state_after = record.kind.value.encode(), encode_state_after(record)
        root = merkle_root([posting.hash for posting in postings])
        details = details_hash(
            record_id=record_id,
            key_hash=record.key_hash,
            fingerprint_version=None if key is None else FINGERPRINT_VERSION,
            fingerprint=None if key is None else key.fingerprint,
            state_after=state_after,
            metadata=record.metadata,
        )
        self.last_hash = record_hash(
            book_id=self._book_id,
            sequence=record.sequence,
            kind=kind,
            hold_id=None if record.hold_id is None else record.hold_id.bytes,
            recorded_at_micros=recorded_at,
            effective_at_micros=effective_at,
            details_hash=details,
            postings_root=root,
            previous_hash=self.last_hash,
        )
        return SealedRecord(
            record=record,
            kind=kind,
            recorded_at_micros=recorded_at,
            effective_at_micros=effective_at,
            record_id=record_id,
            state_after=state_after,
            postings=postings,
            postings_root=root,
            hash=self.last_hash,
        )


def uuid7_bytes(micros: int, random: bytes) -> bytes:
    """Make a UUIDv7 of an instant, in microseconds since 1970, and 10 random bytes. Source: RFC 9562, 5.7."""
    noise = int.from_bytes(random, "big") & _UUID7_RANDOM
    return (micros // 1000 << 80 | noise | _UUID7_MARKS).to_bytes(16, "big")

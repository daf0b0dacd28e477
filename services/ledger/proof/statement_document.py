"""A statement that proves itself: what stands in the file, and which bytes of it are signed. Pure.

The file is JSON in exactly one form (`encode_statement`), so that any changed byte shows. It holds the account's own
postings in full; of other parties' postings in the same records it holds salted hashes, and of each record's state, key
and metadata one salted hash together. Nobody can be read out of these, or found by guessing.

    lines      each record, hashed from what is shown, is in the signed tree (inclusion path)
    head       the tree's size and root, signed when the book stood there
    assertion  the account's last posting and balance at that size, signed with the rest of the file: nothing is missing
"""

from hashlib import sha256
from typing import Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.ledger.domain.canonical import encode_fields
from services.ledger.proof.heads import STATEMENT_PURPOSE, Instant, PublicJwk, SignedHead

FORMAT: Literal["tradeflow-statement/1"] = "tradeflow-statement/1"
"""The layout that is written now; readers of old ones stay."""


class StatementAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose statement it is: one wallet's account in one asset."""

    account_id: int
    wallet_id: UUID
    currency: str


class OwnPosting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A posting of the account; positive amounts are money received. `balance_minor` is that after it."""

    account_sequence: int
    amount_minor: int
    balance_minor: int
    salt: bytes
    previous_hash: bytes


class StatementLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record with postings of the account. `legs` has all its postings in order: the own ones, and others' hashes.

    `details_hash` covers what is not shown, `path` leads from the record to the head's root.
    """

    sequence: int
    kind: str
    recorded_at: Instant
    effective_at: Instant
    order_id: UUID | None
    legs: list[bytes | OwnPosting]
    details_hash: bytes
    previous_hash: bytes
    path: list[bytes]


class Assertion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the ledger vouches for: at `tree_size` records this was the account's last posting, and this its balance."""

    tree_size: int
    root: bytes
    last_account_sequence: int
    balance_minor: int
    last_posting_hash: bytes
    asserted_at: Instant
    key_id: str
    signature: bytes


class StatementDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The postings `from_account_sequence` to `to_account_sequence`, both included; none when the first is larger."""

    format: Literal["tradeflow-statement/1"]
    book_id: int
    account: StatementAccount
    from_account_sequence: int
    to_account_sequence: int
    lines: list[StatementLine]
    head: SignedHead
    assertion: Assertion
    keys: list[PublicJwk]


def encode_statement(document: StatementDocument) -> bytes:
    """Write the one form of the file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def assertion_message(document: StatementDocument) -> bytes:
    """Write what the assertion's signature is over: the assertion, and a hash of the file without the signature."""
    assertion, account = document.assertion, document.account
    unsigned = replace(document, assertion=replace(assertion, signature=b""))
    return encode_fields(
        STATEMENT_PURPOSE,
        document.book_id,
        account.account_id,
        account.wallet_id,
        account.currency,
        assertion.last_account_sequence,
        assertion.balance_minor,
        assertion.last_posting_hash,
        assertion.tree_size,
        assertion.root,
        assertion.asserted_at,
        sha256(msgspec.json.encode(unsigned)).digest(),
    )

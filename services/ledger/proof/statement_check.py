"""Check a statement's file offline: no database, no network, nobody's word but that of the keys one trusts. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from struct import error as StructError  # noqa: N812 - a class that the standard library spells small
from uuid import UUID

import msgspec

from services.ledger.domain.journal import GENESIS_HASH, Posting
from services.ledger.domain.merkle import leaf_hash, merkle_root
from services.ledger.domain.proof import posting_hash, record_hash
from services.ledger.proof.heads import PublicJwk, SignatureError, SignedHead, TrustedKeys
from services.ledger.proof.merkle_proofs import ProofError, root_by_inclusion
from services.ledger.proof.statement_document import (
    OwnPosting,
    StatementDocument,
    StatementLine,
    assertion_message,
    encode_statement,
)
from services.runtime.clock import to_micros

PROBLEMS_MAX = 20
"""Sentences about one file: one wrong row breaks the rows behind it too."""


class CheckedStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says, and what is wrong with it. Without `problems` it is true, if `key_ids` are the ledger's."""

    wallet_id: UUID | None = None
    currency: str = ""
    rows: int = 0
    from_account_sequence: int = 0
    to_account_sequence: int = 0
    balance_minor: int = 0
    head: SignedHead | None = None
    key_ids: tuple[str, ...] = ()
    is_anchored: bool = False
    """Whether the keys were compared with keys from elsewhere."""
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems


def check_statement(content: bytes, *, anchors: Sequence[PublicJwk] | None = None) -> CheckedStatement:
    """Check every byte of a file.

    Args:
        content: The file.
        anchors: The ledger's keys, got from elsewhere; without them the file's own first key is believed, so that only
            its consistency is proven.
    """
    try:
        document = msgspec.json.decode(content, type=StatementDocument)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return CheckedStatement(problems=(f"This is no statement: {error}.",))
    problems = list(_problems_of(document, content, anchors))
    return CheckedStatement(
        wallet_id=document.account.wallet_id,
        currency=document.account.currency,
        rows=len(_rows_of(document)),
        from_account_sequence=document.from_account_sequence,
        to_account_sequence=document.to_account_sequence,
        balance_minor=document.assertion.balance_minor,
        head=document.head,
        key_ids=tuple(dict.fromkeys([document.head.key_id, document.assertion.key_id])),
        is_anchored=anchors is not None,
        problems=tuple(problems[:PROBLEMS_MAX]),
    )


def _problems_of(document: StatementDocument, content: bytes, anchors: Sequence[PublicJwk] | None) -> list[str]:
    """List what is wrong: rows first, since a wrong row is what a wrong signature comes from."""
    try:
        problems = _row_problems(document) + _line_problems(document) + _end_problems(document)
        problems += _signature_problems(document, anchors)
        written = encode_statement(document)
    except (ValueError, OverflowError, StructError) as error:  # numbers and texts that no record can hold
        return [f"The statement holds something that no ledger wrote: {error}."]
    if written != content and not problems:
        problems.append("The file is not laid out as it was written: something was added, removed or reordered.")
    return problems


def _rows_of(document: StatementDocument) -> list[OwnPosting]:
    return [leg for line in document.lines for leg in line.legs if isinstance(leg, OwnPosting)]


def _row_problems(document: StatementDocument) -> list[str]:
    """Find rows that are missing, doubled or out of order, and balances that don't follow from amounts."""
    problems = []
    rows = _rows_of(document)
    expected = document.from_account_sequence
    for row in rows:
        if row.account_sequence > expected:
            problems.append(_missing(expected, row.account_sequence - 1))
        elif row.account_sequence < expected:
            problems.append(f"Row {row.account_sequence} is out of order.")
        expected = row.account_sequence + 1
    if expected <= document.to_account_sequence:
        problems.append(_missing(expected, document.to_account_sequence))
    elif expected > max(document.to_account_sequence, document.from_account_sequence - 1) + 1:
        problems.append(f"Row {expected - 1} is beyond the statement's end.")
    for before, row in pairwise(rows):
        if row.balance_minor != before.balance_minor + row.amount_minor:
            problems.append(
                f"The balance after row {row.account_sequence} is {row.balance_minor}, and"
                f" {before.balance_minor} + {row.amount_minor} is {before.balance_minor + row.amount_minor}."
            )
    if rows and rows[0].account_sequence == 1:
        first = rows[0]
        if first.balance_minor != first.amount_minor or first.previous_hash != GENESIS_HASH:
            problems.append("Row 1 is not the beginning of an account.")
    return problems


def _line_problems(document: StatementDocument) -> list[str]:
    """Find records that are not what the ledger recorded."""
    problems = []
    tail: bytes | None = None
    previous_sequence = 0
    for line in document.lines:
        if line.sequence <= previous_sequence:
            problems.append(f"Record {line.sequence} is out of order.")
        previous_sequence = line.sequence
        leaves, tail, is_chained = _leaves_of(document, line, tail)
        name = f"{_rows_named(line)} (record {line.sequence})"
        if not is_chained:
            problems.append(f"{name}: it doesn't follow the row before it: one of the two was changed or replaced.")
        if not _is_in_tree(document, line, leaves):
            problems.append(f"{name}: this is not what was recorded. The amount or something else of it was changed.")
    return problems


def _leaves_of(
    document: StatementDocument, line: StatementLine, tail: bytes | None
) -> tuple[list[bytes], bytes | None, bool]:
    """Hash the own postings; tell the account's newest hash, and whether each one names the one before it."""
    leaves, is_chained = [], True
    for number, leg in enumerate(line.legs):
        if isinstance(leg, bytes):
            leaves.append(leg)
            continue
        is_chained = is_chained and tail in {None, leg.previous_hash}
        tail = posting_hash(
            book_id=document.book_id,
            sequence=line.sequence,
            leg=number,
            posting=Posting(document.account.account_id, leg.account_sequence, leg.amount_minor, leg.balance_minor),
            salt=_sized(leg.salt, 16),
            previous_hash=_sized(leg.previous_hash, 32),
        )
        leaves.append(tail)
    return leaves, tail, is_chained


def _is_in_tree(document: StatementDocument, line: StatementLine, leaves: list[bytes]) -> bool:
    digest = record_hash(
        book_id=document.book_id,
        sequence=line.sequence,
        kind=line.kind.encode(),
        hold_id=None if line.order_id is None else line.order_id.bytes,
        recorded_at_micros=to_micros(line.recorded_at),
        effective_at_micros=to_micros(line.effective_at),
        details_hash=line.details_hash,
        postings_root=merkle_root(leaves),
        previous_hash=line.previous_hash,
    )
    try:
        root = root_by_inclusion(
            index=line.sequence - 1, size=document.head.tree_size, leaf=leaf_hash(digest), path=line.path
        )
    except ProofError:
        return False
    return root == document.head.root


def _end_problems(document: StatementDocument) -> list[str]:
    """Compare the last row with what the ledger vouches for."""
    problems = []
    assertion, head, rows = document.assertion, document.head, _rows_of(document)
    if (assertion.tree_size, assertion.root) != (head.tree_size, head.root):
        problems.append("The assertion is about another tree than the head.")
    if document.book_id != head.book_id:
        problems.append("The head is that of another book.")
    if document.to_account_sequence > assertion.last_account_sequence:
        problems.append(f"The ledger vouches for rows up to {assertion.last_account_sequence} only.")
    if rows and rows[-1].account_sequence == assertion.last_account_sequence:
        tail: bytes | None = None
        for line in document.lines:
            _, tail, _ = _leaves_of(document, line, tail)
        if (rows[-1].balance_minor, tail) != (assertion.balance_minor, assertion.last_posting_hash):
            problems.append(
                f"The last row leaves {rows[-1].balance_minor}, and the ledger vouches for"
                f" {assertion.balance_minor} with another last row."
            )
    return problems


def _signature_problems(document: StatementDocument, anchors: Sequence[PublicJwk] | None) -> list[str]:
    try:
        trusted = TrustedKeys.of(document.keys, anchors=anchors)
    except SignatureError as error:
        return [f"The keys can't be trusted: {error}."]
    problems = []
    try:
        trusted.check_head(document.head)
    except SignatureError as error:
        problems.append(f"The tree's head is not the ledger's: {error}.")
    assertion = document.assertion
    try:
        trusted.check(assertion.key_id, assertion_message(document), assertion.signature, "the statement")
    except SignatureError as error:
        problems.append(f"The statement is not as the ledger signed it: {error}.")
    return problems


def _rows_named(line: StatementLine) -> str:
    numbers = [str(leg.account_sequence) for leg in line.legs if isinstance(leg, OwnPosting)]
    return f"Row {' and '.join(numbers)}" if numbers else "A line without a row"


def _missing(first: int, last: int) -> str:
    return f"Row {first} is missing." if first == last else f"The rows {first} to {last} are missing."


def _sized(content: bytes, length: int) -> bytes:
    """Hold a field to its length: the packed layout would cut or fill it silently."""
    if len(content) != length:
        raise ValueError(f"a field of {len(content)} bytes where {length} belong")
    return content

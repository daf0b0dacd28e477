"""Undo a record by a new one: a deposit, a withdrawal, a transfer, or a capture.

A reversal posts the opposite of each posting. A capture's reversal is the refund of all that is left of it: reversals
count as refunds, and give the fee back in the same way. A reversal is not reversed.
"""

from datetime import datetime
from typing import ClassVar

from services.ledger.commands.giving_back import give_back, share_of
from services.ledger.commands.guards import require_covered
from services.ledger.commands.outcome import Draft, Outcome, accepted
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import BookState
from services.ledger.domain.canonical import Field
from services.ledger.domain.journal import JournalEntry, RecordKind
from services.ledger.domain.refusals import AlreadyReversedError, NotReversibleError, RecordNotFoundError
from services.ledger.domain.wallet_event import RecordReversed
from services.money import Money
from services.runtime.errors import InvalidArgumentError

SEQUENCE_MAX = 2**63 - 1
"""The largest sequence of a record: the database's column."""

REVERSIBLE = frozenset({RecordKind.DEPOSIT, RecordKind.WITHDRAW, RecordKind.TRANSFER, RecordKind.CAPTURE})
"""What can be undone: entries that moved money for good. A refund is undone by selling again."""


class ReverseRecord(KeyedCommand, frozen=True, kw_only=True, gc=False):
    """See the module.

    `shortfall_to_receivable` says what happens when a captured seller has less than the refund takes: refuse, or charge
    what lacks to the seller's receivable account. It is the ledger's setting and no part of the fingerprint.
    """

    kind: ClassVar[str] = "reverse_record"

    journal_sequence: int
    shortfall_to_receivable: bool = False

    def content(self) -> tuple[Field, ...]:
        """List what the command asks."""
        return (self.journal_sequence,)

    def check_shape(self) -> None:
        """Guard: records are numbered from 1 (journal_sequence_malformed)."""
        if not 1 <= self.journal_sequence <= SEQUENCE_MAX:
            raise InvalidArgumentError("Records are numbered from 1.", reason="journal_sequence_malformed")


def decide_reverse_record(state: BookState, command: ReverseRecord, now: datetime) -> Outcome:
    """Undo the record.

    Guards in order: it exists (record_not_found), its kind can be undone (not_reversible), it was not undone and a
    capture has something left to give back (already_reversed), funds of those that pay now (insufficient_funds; of a
    capture's sellers, unless a shortfall goes to the receivable account; exceeds_receivable), overflow
    (balance_overflow).
    """
    entry = state.entry(command.journal_sequence)
    if entry is None:
        raise RecordNotFoundError("The journal has no such record.")
    if entry.kind not in REVERSIBLE:
        raise NotReversibleError(f"A record of {entry.kind.value} can't be undone.", details={"kind": entry.kind.value})
    if entry.reversed_by:
        raise AlreadyReversedError(
            "The record was undone before.", details={"journal_sequence": str(entry.reversed_by)}
        )
    draft = Draft(state, now, command)
    if entry.kind is RecordKind.CAPTURE:
        _give_all_back(draft, state, command, entry)
    else:
        _post_the_opposite(draft, state, entry)
    return accepted(draft)


def _post_the_opposite(draft: Draft, state: BookState, entry: JournalEntry) -> None:
    opposite = [(state.accounts[code], -amount_minor) for code, amount_minor in entry.postings]
    for account, amount_minor in opposite:
        require_covered(account, amount_minor)
    postings = draft.post([(account.code, amount_minor) for account, amount_minor in opposite])
    draft.record(RecordKind.REVERSE, postings=postings, reverses=entry.sequence)
    for account, amount_minor in opposite:
        if account.wallet_id is not None:
            amount = Money(amount_minor, account.currency)
            draft.emit(account.wallet_id, account, RecordReversed(entry.sequence, amount))


def _give_all_back(draft: Draft, state: BookState, command: ReverseRecord, entry: JournalEntry) -> None:
    if entry.hold_id is None:
        raise LookupError(f"capture {entry.sequence} names no hold")
    hold = state.holds[entry.hold_id]
    left = [
        leg
        for leg in state.legs_of(hold.hold_id)
        if leg.capture_number == entry.capture_number and leg.refundable_minor
    ]
    if not left:
        raise AlreadyReversedError("All of the capture was refunded before.")
    shares = [
        share_of(
            state,
            leg,
            leg.refundable_minor,
            hold.currency,
            shortfall_to_receivable=command.shortfall_to_receivable,
        )
        for leg in left
    ]
    give_back(draft, hold, entry.capture_number, shares, reverses=entry.sequence)

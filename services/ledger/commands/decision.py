"""Decide a batch: commands one by one, each seeing what earlier ones did. Pure.

For every command, in this order: its shape was checked when it was made and its caller was authorised at the door;
then its key; then its own guards, by what the clock says. What it does is recorded then, or after the journal's last
record where the clock is behind that: a clock that was once ahead must not end holds for as long as it was.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from services.ledger.commands.capture_hold import CaptureFunds, decide_capture_funds
from services.ledger.commands.command import Command
from services.ledger.commands.commit_hold import CommitHold, decide_commit_hold
from services.ledger.commands.deposit import Deposit, decide_deposit
from services.ledger.commands.expire_hold import ExpireHold, decide_expire_hold
from services.ledger.commands.housekeeping import (
    ForgetExpiries,
    ForgetKeys,
    Housekeeping,
    PruneAnswers,
    answers_to_prune,
    expiries_to_forget,
    keys_to_forget,
)
from services.ledger.commands.open_account import OpenAccount, decide_open_account
from services.ledger.commands.outcome import Draft, DraftEvent, Outcome, refused
from services.ledger.commands.refund_capture import RefundCapture, decide_refund_capture
from services.ledger.commands.reserve_funds import ReserveFunds, decide_reserve_funds
from services.ledger.commands.reverse_record import ReverseRecord, decide_reverse_record
from services.ledger.commands.set_limit import SetLimit, decide_set_limit
from services.ledger.commands.shape import KeyedCommand
from services.ledger.commands.state import BookState
from services.ledger.commands.transfer import Transfer, decide_transfer
from services.ledger.commands.void_hold import VoidHold, decide_void_hold
from services.ledger.commands.withdraw import Withdraw, decide_withdraw
from services.ledger.domain.account import Account
from services.ledger.domain.capture import CaptureLeg
from services.ledger.domain.hold import Hold
from services.ledger.domain.journal import Record
from services.ledger.domain.keys import RecordedKey
from services.ledger.domain.receipt import Receipt
from services.ledger.domain.refusals import rebuild_refusal
from services.ledger.domain.wallet_event import WalletEvent
from services.runtime.errors import KeyReusedError, RejectedError

Answer = Receipt | RejectedError
"""What a caller gets back."""

_DECIDERS: dict[type, Callable[[BookState, Any, datetime], Outcome]] = {
    OpenAccount: decide_open_account,
    Deposit: decide_deposit,
    ReserveFunds: decide_reserve_funds,
    CommitHold: decide_commit_hold,
    CaptureFunds: decide_capture_funds,
    VoidHold: decide_void_hold,
    ExpireHold: decide_expire_hold,
    RefundCapture: decide_refund_capture,
    Withdraw: decide_withdraw,
    Transfer: decide_transfer,
    SetLimit: decide_set_limit,
    ReverseRecord: decide_reverse_record,
}


@dataclass(slots=True, kw_only=True)
class Decision:
    """What a batch did: an answer for each command, in their order, and all that is to be written.

    Changed things are here as they are at the batch's end, once each. `holds_before` has what the changed holds were;
    None where they are new. `pruned` are keys that lose their answer, `forgotten_keys` those that go, `forgotten`
    rows that leave the queue of expiries.
    """

    answers: list[Answer] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    keys: list[RecordedKey] = field(default_factory=list)
    events: list[WalletEvent] = field(default_factory=list)
    opened: list[Account] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)
    holds_before: dict[UUID, Hold | None] = field(default_factory=dict)
    legs: dict[tuple[UUID, int, UUID], CaptureLeg] = field(default_factory=dict)
    pruned: list[RecordedKey] = field(default_factory=list)
    forgotten_keys: list[RecordedKey] = field(default_factory=list)
    forgotten: list[tuple[datetime, UUID]] = field(default_factory=list)
    last_sequence: int
    last_recorded_at: datetime
    last_account_id: int
    last_event_sequence: int

    @property
    def changes_nothing(self) -> bool:
        """Tell that there is nothing to write: replays, dry runs, and refusals that aren't remembered."""
        changed = self.records or self.keys or self.events or self.pruned or self.forgotten_keys or self.forgotten
        return not changed


def decide(
    state: BookState, commands: Iterable[Command], clock_now: datetime, decision: Decision | None = None
) -> Decision:
    """Decide all commands. `state` is used up: it ends as the book after them.

    A batch may be decided piece by piece: `decision` is then that of the pieces before, which is gone on with.
    """
    if decision is None:
        decision = Decision(
            last_sequence=state.last_sequence,
            last_recorded_at=state.last_recorded_at,
            last_account_id=state.last_account_id,
            last_event_sequence=state.last_event_sequence,
        )
        state.written = decision.records
    for command in commands:
        decision.answers.append(_decide_one(state, decision, command, clock_now))
    decision.last_sequence = state.last_sequence
    decision.last_recorded_at = state.last_recorded_at
    decision.last_account_id = state.last_account_id
    decision.last_event_sequence = state.last_event_sequence
    return decision


def _decide_one(state: BookState, decision: Decision, command: Command, clock_now: datetime) -> Answer:
    if isinstance(command, KeyedCommand):
        return _decide_keyed(state, decision, command, clock_now)
    if isinstance(command, Housekeeping):
        return _keep_house(state, decision, command, clock_now)
    outcome = _outcome_of(state, command, clock_now)
    if outcome.draft is not None:
        _absorb(state, decision, outcome.draft, command.traceparent)
    return outcome.receipt or outcome.refusal  # type: ignore[return-value]  # an outcome has one of them


def _decide_keyed(state: BookState, decision: Decision, command: KeyedCommand, now: datetime) -> Answer:
    seen = state.keys.get((command.service, command.idempotency_key))
    if seen is not None:
        return _replay(state, seen, command)
    outcome = _outcome_of(state, command, now)
    if command.dry_run:
        return _rehearsed(outcome)
    answered_at = state.next_instant(now)
    if outcome.draft is not None:
        _absorb(state, decision, outcome.draft, command.traceparent)
    if outcome.remembered:
        _remember(state, decision, command, outcome, answered_at)
    return outcome.receipt or outcome.refusal  # type: ignore[return-value]  # an outcome has one of them


def _outcome_of(state: BookState, command: Command | KeyedCommand, now: datetime) -> Outcome:
    try:
        return _DECIDERS[type(command)](state, command, now)
    except RejectedError as refusal:
        return refused(refusal)


def _replay(state: BookState, seen: RecordedKey, command: KeyedCommand) -> Answer:
    """Give the first answer again, or refuse other content under the same key."""
    if seen.fingerprint != command.fingerprint:
        return KeyReusedError("This idempotency key came with other content before.")
    if seen.reason:
        return rebuild_refusal(seen.reason, seen.message, seen.details)
    hold = state.holds.get(seen.hold_id) if seen.hold_id is not None else None
    return Receipt(journal_sequence=seen.sequence, recorded_at=seen.recorded_at, hold=hold, replayed=True)


def _absorb(state: BookState, decision: Decision, draft: Draft, traceparent: str) -> None:
    """Let a command's changes take effect for the commands after it."""
    if draft.records:
        decision.records += draft.records
        state.last_sequence = draft.sequence
        state.last_recorded_at = draft.now
        state.last_account_id += len(draft.opened)
        decision.opened += draft.opened
        state.accounts.update(draft.accounts)
        decision.accounts.update(draft.accounts)
        if draft.hold is not None:
            hold_id = draft.hold.hold_id
            decision.holds_before.setdefault(hold_id, state.holds.get(hold_id))
            state.holds[hold_id] = decision.holds[hold_id] = draft.hold
        for leg in draft.legs:
            state.absorb_leg(leg)
            decision.legs[leg.hold_id, leg.capture_number, leg.seller_id] = leg
        for record in draft.records:
            if record.reverses:
                _mark_reversed(state, record)
    for event in draft.events:
        state.last_recorded_at = draft.now
        _tell(state, decision, event, traceparent)


def _mark_reversed(state: BookState, record: Record) -> None:
    """Let nobody undo the same record again."""
    entry = state.entry(record.reverses)
    if entry is None:  # pragma: no cover - the command found it
        raise LookupError(record.reverses)
    state.entries[entry.sequence] = replace(entry, reversed_by=record.sequence)


def _rehearsed(outcome: Outcome) -> Answer:
    """Say what would become of the command; nothing is absorbed, and the key stays free."""
    if outcome.receipt is None:
        return outcome.refusal  # type: ignore[return-value]  # an outcome has one of them
    return replace(outcome.receipt, journal_sequence=0, dry_run=True)


def _keep_house(state: BookState, decision: Decision, command: Housekeeping, now: datetime) -> Receipt:
    """Forget what is no longer needed. No record, no key."""
    match command:
        case PruneAnswers():
            pruned = answers_to_prune(command)
            state.keys.update({(key.service, key.idempotency_key): key for key in pruned})
            decision.pruned += pruned
        case ForgetKeys():
            forgotten = keys_to_forget(command)
            for key in forgotten:
                state.keys.pop((key.service, key.idempotency_key), None)
            decision.forgotten_keys += forgotten
        case ForgetExpiries():
            decision.forgotten += expiries_to_forget(state, command)
    return Receipt(journal_sequence=0, recorded_at=state.next_instant(now))


def _tell(state: BookState, decision: Decision, event: DraftEvent, traceparent: str) -> None:
    """Give an event its numbers, which the account that it shows carries from now on.

    Where there is no such account, the wallet's newest carries them; a wallet without any has no numbers.
    """
    state.last_event_sequence += 1
    sequence = previous_position = 0
    newest = state.newest_account_of(event.wallet_id)
    carrier = state.accounts.get(event.account.code, newest)
    if newest is not None:
        sequence, previous_position = newest.event_sequence, newest.event_position
    if carrier is not None:
        sequence += 1
        carrier = replace(carrier, event_sequence=sequence, event_position=state.last_event_sequence)
        state.accounts[carrier.code] = decision.accounts[carrier.code] = carrier
        state.wallets[event.wallet_id] = carrier.code
    decision.events.append(
        WalletEvent(
            wallet_id=event.wallet_id,
            sequence=sequence,
            previous_position=previous_position,
            recorded_at=event.recorded_at,
            journal_sequence=event.journal_sequence,
            account=event.account,
            fact=event.fact,
            traceparent=traceparent,
        )
    )


def _remember(
    state: BookState, decision: Decision, command: KeyedCommand, outcome: Outcome, answered_at: datetime
) -> None:
    """Keep the answer under the key."""
    receipt, refusal = outcome.receipt, outcome.refusal
    key = RecordedKey(
        service=command.service,
        idempotency_key=command.idempotency_key,
        fingerprint=command.fingerprint,
        sequence=receipt.journal_sequence if receipt is not None else 0,
        recorded_at=receipt.recorded_at if receipt is not None else answered_at,
        hold_id=receipt.hold.hold_id if receipt is not None and receipt.hold is not None else None,
        reason=refusal.reason if refusal is not None else "",
        message=refusal.message if refusal is not None else "",
        details=refusal.details if refusal is not None else {},
    )
    state.keys[key.service, key.idempotency_key] = key
    state.last_recorded_at = max(state.last_recorded_at, answered_at)
    decision.keys.append(key)
    if key.sequence:
        # An accepted key lives in the record of its effect, the command's last.
        decision.records[-1] = replace(decision.records[-1], key=key)

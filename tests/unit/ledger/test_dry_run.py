"""Dry runs: the answer of the real command, and nothing else."""

from copy import deepcopy
from typing import get_args

import pytest
from msgspec.structs import replace

from services.ledger.commands.command import CallersCommand
from services.ledger.domain.hold import HoldState
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    NOW,
    SELLER,
    STRANGER,
    capture,
    commit,
    deposit,
    open_account,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    void,
    withdraw,
)

SOON = NOW.replace(minute=5)


def a_book() -> MemoryBook:
    """A book on which every command below would be accepted."""
    return MemoryBook(
        deposit(),
        deposit(),
        reserve(amount=1_000),
        capture(parts=400),
        reserve(hold="open", amount=10, expires_at=SOON),
        reserve(hold="late", amount=10, expires_at=SOON),
    )


ACCEPTED: list[CallersCommand] = [
    open_account(STRANGER, dry_run=True),
    deposit(STRANGER, dry_run=True),
    withdraw(dry_run=True),
    transfer(dry_run=True),
    set_limit(dry_run=True),
    reserve(hold="new", amount=7, dry_run=True),
    commit("open", dry_run=True),
    capture(parts=600, number=2, dry_run=True),
    void("open", dry_run=True),
    void("unknown", dry_run=True),
    refund(parts=400, dry_run=True),
    reverse(3, dry_run=True),
]
REFUSED: list[tuple[str, CallersCommand]] = [
    ("insufficient_funds", withdraw(amount=20_001, dry_run=True)),
    ("exceeds_hold", capture(parts=601, number=2, dry_run=True)),
    ("hold_closed", commit("gone", dry_run=True)),
    ("record_not_found", reverse(99, dry_run=True)),
    ("exceeds_capture", refund(parts=401, dry_run=True)),
    ("hold_not_found", capture("unknown", dry_run=True, report_refusal=True)),
]


@pytest.mark.parametrize("command", ACCEPTED, ids=lambda command: command.kind)
def test_a_dry_run_changes_nothing_and_answers_as_the_command_would(command: CallersCommand) -> None:
    book = a_book()
    before = seen(book)

    rehearsed = book.accept(command)
    unchanged = before == seen(book)
    real = book.accept(replace(command, dry_run=False))

    assert unchanged
    assert (rehearsed.dry_run, rehearsed.journal_sequence, rehearsed.replayed) == (True, 0, False)
    assert not real.dry_run
    assert real.journal_sequence > 0
    assert not real.replayed, "the rehearsal left the key free"
    assert (rehearsed.recorded_at <= real.recorded_at, rehearsed.hold) == (True, real.hold)


@pytest.mark.parametrize(("reason", "command"), REFUSED, ids=lambda value: str(getattr(value, "kind", value)))
def test_a_dry_run_is_refused_as_the_command_would_be_and_the_refusal_is_not_kept(
    reason: str, command: CallersCommand
) -> None:
    book = a_book()
    book.accept(reserve("gone"))
    book.accept(void("gone"))
    before = seen(book)

    refusal = book.refuse(command)

    assert refusal.reason == reason
    assert seen(book) == before
    assert book.refuse(replace(command, dry_run=False)).details == refusal.details


def test_a_dry_run_sees_what_earlier_commands_of_its_batch_did() -> None:
    book = MemoryBook()

    answers = book.run(withdraw(dry_run=True), deposit(), withdraw(dry_run=True), withdraw(amount=10_000))

    assert [getattr(answer, "reason", "done") for answer in answers] == ["account_not_open", "done", "done", "done"]
    assert book.account().posted_minor == 0


def test_a_dry_run_of_a_late_capture_leaves_the_hold_to_expire() -> None:
    book = a_book()
    book.pass_time(SOON)

    assert book.refuse(capture("late", 10, dry_run=True)).reason == "hold_expired"
    assert book.hold("late").state is HoldState.OPEN


def test_a_dry_run_shows_the_hold_as_it_would_be() -> None:
    book = a_book()

    receipt = book.accept(capture(parts=600, number=2, dry_run=True))

    assert receipt.hold is not None
    assert (receipt.hold.state, receipt.hold.captured_minor) == (HoldState.CAPTURED, 1_000)
    assert book.hold().captured_minor == 400


def test_a_dry_run_under_a_used_key_answers_as_the_key_does() -> None:
    book = MemoryBook()
    first = book.accept(deposit(idempotency_key="k"))

    again = book.accept(deposit(idempotency_key="k", dry_run=True))

    assert (again.journal_sequence, again.replayed) == (first.journal_sequence, True)
    assert book.refuse(deposit(SELLER, idempotency_key="k", dry_run=True)).reason == "idempotency_key_reused"


def test_a_dry_run_has_the_fingerprint_of_its_command() -> None:
    command = deposit(dry_run=True)

    assert command.fingerprint == replace(command, dry_run=False).fingerprint


def seen(book: MemoryBook) -> object:
    return deepcopy((book.state, book.records, book.events))


def test_there_is_a_dry_run_of_every_command_that_callers_send() -> None:
    rehearsed = {type(command) for command in ACCEPTED}

    assert rehearsed == set(get_args(CallersCommand))

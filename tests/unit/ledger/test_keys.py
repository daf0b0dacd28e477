"""One key, one effect, one answer."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.ledger.commands.command import Command
from services.ledger.domain.hold import HoldState
from services.ledger.domain.receipt import Receipt
from services.runtime.errors import KeyReusedError
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    NOW,
    STRANGER,
    an_id,
    capture,
    commit,
    deposit,
    eur,
    open_account,
    refund,
    reserve,
    void,
)

SOON = NOW + timedelta(minutes=5)


def test_a_repeated_command_gets_the_first_receipt_and_changes_nothing() -> None:
    book = MemoryBook()
    command = deposit(idempotency_key="k")
    first = book.accept(command)

    again = book.accept(command)

    assert again == replace(first, replayed=True)
    assert book.account().posted_minor == 10_000


def test_a_repeated_command_is_found_within_its_own_batch() -> None:
    command = deposit(idempotency_key="k")

    first, second = MemoryBook().run(command, command)

    assert isinstance(first, Receipt)
    assert second == replace(first, replayed=True)


def test_a_replay_shows_the_hold_as_it_is_now() -> None:
    command = reserve()
    book = MemoryBook(deposit(), command, capture())

    receipt = book.accept(command)

    assert receipt.replayed
    assert receipt.hold is not None
    assert receipt.hold.state is HoldState.CAPTURED


def test_success_without_a_record_is_remembered_too() -> None:
    book = MemoryBook(open_account())
    command = open_account()
    first = book.accept(command)

    assert book.accept(command) == replace(first, replayed=True)


@pytest.mark.parametrize("key", ["ABC", "abc ", " abc", "abc\0", "\xe4bc"])
def test_keys_are_compared_byte_by_byte(key: str) -> None:
    book = MemoryBook(deposit(idempotency_key="abc"))

    assert not book.accept(deposit(idempotency_key=key)).replayed


def test_each_service_has_keys_of_its_own() -> None:
    book = MemoryBook(deposit(idempotency_key="k", service="orders"))

    assert not book.accept(deposit(idempotency_key="k", service="treasury")).replayed


CHANGED: list[tuple[Command, Command]] = [
    (deposit(idempotency_key="k"), deposit(idempotency_key="k", amount=1)),
    (deposit(idempotency_key="k"), deposit(idempotency_key="k", wallet=STRANGER)),
    (deposit(idempotency_key="k"), deposit(idempotency_key="k", note="x")),
    (deposit(idempotency_key="k"), open_account(idempotency_key="k")),
    (open_account(idempotency_key="k"), open_account(idempotency_key="k", currency="USD")),
    (void(idempotency_key="k"), void(idempotency_key="k", hold="other")),
    (void(idempotency_key="k"), commit(idempotency_key="k")),
]


@pytest.mark.parametrize(("first", "other"), CHANGED)
def test_other_content_under_the_same_key_is_refused(first: Command, other: Command) -> None:
    book = MemoryBook(first)

    refusal = book.refuse(other)

    assert isinstance(refusal, KeyReusedError)
    assert refusal.reason == "idempotency_key_reused"
    assert book.accept(first).replayed


VARIANTS = [
    reserve(idempotency_key="k", amount=5),
    reserve(idempotency_key="k", amount=6),
    reserve(idempotency_key="k", amount=5, commit=False, expires_at=SOON),
    reserve(idempotency_key="k", amount=5, commit=True, expires_at=SOON),
    capture(idempotency_key="k"),
    capture(idempotency_key="k", number=2),
    capture(idempotency_key="k", final=True),
    capture(idempotency_key="k", fee=1),
    capture(idempotency_key="k", amount=eur(1)),
    capture(idempotency_key="k", parts={an_id("a"): 1, an_id("b"): 2}),
    capture(idempotency_key="k", parts={an_id("a"): 2, an_id("b"): 1}),
    refund(idempotency_key="k"),
    refund(idempotency_key="k", number=2),
    refund(idempotency_key="k", parts=2),
]


def test_every_difference_of_content_makes_another_fingerprint() -> None:
    assert len({command.fingerprint for command in VARIANTS}) == len(VARIANTS)


def test_the_trace_and_the_wish_for_a_report_are_no_content() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    assert deposit(traceparent=trace).fingerprint == deposit().fingerprint
    assert capture(report_refusal=True).fingerprint == capture().fingerprint


def test_a_traceparent_that_is_too_long_is_dropped() -> None:
    assert deposit(traceparent="x" * 56).traceparent == ""


def test_a_refusal_that_depends_on_state_is_replayed_with_its_details() -> None:
    book = MemoryBook(deposit(amount=100))
    command = reserve(amount=101)
    first = book.refuse(command)
    book.accept(deposit(amount=1_000))

    again = book.refuse(command)

    assert type(again) is type(first)
    assert (again.reason, again.message, again.details) == (first.reason, first.message, first.details)
    assert first.details == {"available_minor": "100", "needed_minor": "101"}


@pytest.mark.parametrize("command", [commit(idempotency_key="k"), capture(idempotency_key="k")])
def test_not_found_is_not_remembered(command: Command) -> None:
    book = MemoryBook(deposit())
    assert book.refuse(command).reason == "hold_not_found"

    book.accept(reserve())

    book.accept(command)


@pytest.mark.parametrize("refused", [commit(wallet=STRANGER), capture(amount=eur(999)), reserve(amount=0)])
def test_malformed_forbidden_and_conflicting_commands_leave_no_key(refused: Command) -> None:
    book = MemoryBook(deposit(), reserve())
    keys = len(book.state.keys)

    book.refuse(refused)

    assert len(book.state.keys) == keys

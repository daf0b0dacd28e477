"""The guards of withdrawals, transfers, limits and reversals, by name, and that the earlier of two wins."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from services.ledger.commands.command import Command
from services.ledger.commands.guards import require_effective_by
from services.ledger.commands.transfer import SystemRef
from services.ledger.domain.account import AccountType
from services.ledger.domain.refusals import EffectiveInTheFutureError
from services.money import AMOUNT_MINOR_MAX, Money
from services.runtime.errors import InvalidArgumentError
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    EXCHANGE,
    FUNDING,
    NOW,
    REVENUE,
    SELLER,
    STRANGER,
    an_id,
    capture,
    deposit,
    leg,
    open_account,
    pay_off,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    withdraw,
)

AHEAD = NOW + timedelta(seconds=1)
FULL = AMOUNT_MINOR_MAX


def in_order(cases: list[tuple[str, Callable[[], MemoryBook], Command]]) -> list[object]:
    return [pytest.param(build, command, reason, id=reason) for reason, build, command in cases]


def rich() -> MemoryBook:
    return MemoryBook(deposit())


def owing() -> MemoryBook:
    return MemoryBook(
        deposit(),
        reserve(),
        capture(fee=0),
        withdraw(SELLER),
        refund(parts=100, shortfall_to_receivable=True),
    )


def full_and_lent() -> MemoryBook:
    """The buyer is full, and the seller has a cent that did not come from outside."""
    return MemoryBook(deposit(amount=FULL), transfer(leg(REVENUE, -1), leg(SELLER, 1)))


def spent() -> MemoryBook:
    return MemoryBook(deposit(), withdraw(amount=10_000))


def reversed_already() -> MemoryBook:
    return MemoryBook(deposit(), reverse(3))


def sold_and_spent() -> MemoryBook:
    return MemoryBook(deposit(), reserve(), capture(), withdraw(SELLER, 975))


def withdrawn_and_full() -> MemoryBook:
    """A withdrawal of which the money can't come back: the wallet is full again, by what was never deposited."""
    return MemoryBook(deposit(amount=FULL), withdraw(amount=5), transfer(leg(REVENUE, -5), leg(BUYER, 5)))


DEPOSIT = in_order(
    [
        ("invalid_amount", lambda: MemoryBook(deposit(amount=FULL)), deposit(amount=0, effective_at=AHEAD)),
        (
            "effective_in_the_future",
            lambda: MemoryBook(deposit(amount=FULL)),
            deposit(amount=1, effective_at=AHEAD),
        ),
        ("balance_overflow", lambda: MemoryBook(deposit(amount=FULL)), deposit(amount=1)),
    ]
)
WITHDRAW = in_order(
    [
        ("account_not_open", MemoryBook, withdraw(amount=0, effective_at=AHEAD)),
        ("account_not_open", rich, withdraw(amount=Money(1, "JPY"))),
        ("invalid_amount", rich, withdraw(amount=0, effective_at=AHEAD)),
        ("invalid_amount", rich, withdraw(amount=-1, effective_at=AHEAD)),
        ("effective_in_the_future", rich, withdraw(amount=10_001, effective_at=AHEAD)),
        ("insufficient_funds", rich, withdraw(amount=10_001)),
        (
            "balance_overflow",
            # Money that never came from outside goes out, until the funding account is full on its other side.
            lambda: MemoryBook(
                *(transfer(leg(REVENUE, -FULL), leg(BUYER, FULL)), withdraw(amount=FULL)),
                *(transfer(leg(EXCHANGE, -FULL), leg(BUYER, FULL)),),
            ),
            withdraw(amount=1),
        ),
    ]
)
TRANSFER = in_order(
    [
        ("account_not_open", MemoryBook, transfer(effective_at=AHEAD)),
        ("account_not_open", rich, pay_off(10_001, effective_at=AHEAD)),
        ("account_not_open", lambda: MemoryBook(deposit(SELLER)), pay_off(1)),
        ("effective_in_the_future", rich, transfer(leg(BUYER, -10_001), leg(SELLER, 10_001), effective_at=AHEAD)),
        ("insufficient_funds", rich, transfer(leg(BUYER, -10_001), leg(SELLER, 10_001))),
        ("insufficient_funds", rich, transfer(leg(SELLER, 10_001), leg(BUYER, -10_001))),
        ("exceeds_receivable", owing, transfer(leg(BUYER, -101), leg(pay_off(1).legs[1].account, 101))),
        ("balance_overflow", full_and_lent, transfer(leg(SELLER, -1), leg(BUYER, 1))),
        ("balance_overflow", full_and_lent, transfer(leg(FUNDING, -1), leg(STRANGER, 1))),
    ]
)
LIMIT = in_order(
    [
        (
            "limit_in_use",
            lambda: MemoryBook(set_limit(limit=10), withdraw(amount=5)),
            set_limit(limit=4),
        ),
        (
            "limit_in_use",
            lambda: MemoryBook(set_limit(limit=10), reserve(amount=5)),
            set_limit(limit=0),
        ),
    ]
)
REVERSE = in_order(
    [
        ("record_not_found", MemoryBook, reverse(1)),
        ("record_not_found", rich, reverse(2**63 - 1)),
        ("not_reversible", rich, reverse(1)),
        ("not_reversible", reversed_already, reverse(4)),
        ("already_reversed", reversed_already, reverse(3)),
        ("insufficient_funds", spent, reverse(3)),
        ("insufficient_funds", sold_and_spent, reverse(7)),
        ("balance_overflow", withdrawn_and_full, reverse(4)),
    ]
)
REFUND = in_order(
    [
        (
            "not_hold_owner",
            lambda: MemoryBook(deposit(), reserve(), capture(), reverse(7)),
            refund(wallet=STRANGER, parts=1),
        ),
        (
            "capture_reversed",
            lambda: MemoryBook(deposit(), reserve(), capture(), reverse(7)),
            refund(parts=1_001),
        ),
    ]
)
ALL = DEPOSIT + WITHDRAW + TRANSFER + LIMIT + REVERSE + REFUND


@pytest.mark.parametrize(("build", "command", "reason"), ALL)
def test_a_guard_refuses_by_its_name_and_before_the_later_ones(
    build: Callable[[], MemoryBook], command: Command, reason: str
) -> None:
    refusal = build().refuse(command)

    assert refusal.reason == reason


def test_an_effective_date_of_this_very_moment_does_not_lie_ahead() -> None:
    require_effective_by(NOW, NOW)

    with pytest.raises(EffectiveInTheFutureError):
        require_effective_by(NOW + timedelta(microseconds=1), NOW)


@pytest.mark.parametrize(("build", "command", "reason"), ALL)
def test_a_refused_command_changes_nothing(build: Callable[[], MemoryBook], command: Command, reason: str) -> None:
    book = build()
    before = (dict(book.state.accounts), dict(book.state.holds), len(book.records), len(book.events))

    book.refuse(command)

    assert (book.state.accounts, book.state.holds, len(book.records), len(book.events)) == before


@pytest.mark.parametrize(("build", "command", "reason"), ALL)
def test_a_refusal_that_depends_on_the_book_is_kept_and_no_other(
    build: Callable[[], MemoryBook], command: Command, reason: str
) -> None:
    book = build()
    first = book.refuse(command)

    kept = (command.service, command.idempotency_key) in book.state.keys  # type: ignore[union-attr]  # all are keyed

    judged_anew = {"invalid_amount", "effective_in_the_future", "record_not_found", "not_hold_owner"}
    assert kept is (reason not in judged_anew)
    assert (type(book.refuse(command)), book.refuse(command).details) == (type(first), first.details)


MALFORMED: list[tuple[str, Callable[[], object]]] = [
    ("note_too_long", lambda: withdraw(note="é" * 513)),
    ("instant_malformed", lambda: withdraw(effective_at=NOW.replace(tzinfo=None))),
    ("instant_malformed", lambda: deposit(effective_at=NOW.replace(year=1969))),
    ("instant_malformed", lambda: transfer(effective_at=NOW.replace(tzinfo=None))),
    ("legs_malformed", lambda: transfer(leg(BUYER, -1))),
    ("legs_malformed", lambda: transfer(leg(BUYER, -1), leg(SELLER, 2), leg(BUYER, -1))),
    ("legs_malformed", lambda: transfer(leg(BUYER, -1), leg(BUYER, 1))),
    ("legs_malformed", lambda: transfer(leg(SystemRef(AccountType.WALLET), -1), leg(BUYER, 1))),
    ("legs_malformed", lambda: transfer(leg(SystemRef(AccountType.RECEIVABLE), -1), leg(BUYER, 1))),
    ("legs_malformed", lambda: transfer(leg(BUYER, -100), *[leg(an_id(str(n)), 1) for n in range(100)])),
    ("invalid_amount", lambda: transfer(leg(BUYER, -1), leg(SELLER, 1), leg(STRANGER, 0))),
    ("legs_unbalanced", lambda: transfer(leg(BUYER, -1), leg(SELLER, 2))),
    ("legs_unbalanced", lambda: transfer(leg(BUYER, -1), leg(SELLER, Money(1, "USD")))),
    ("unknown_asset", lambda: set_limit(currency="ZZZ")),
    ("invalid_amount", lambda: set_limit(limit=-1)),
    ("invalid_amount", lambda: set_limit(limit=FULL + 1)),
    ("journal_sequence_malformed", lambda: reverse(0)),
    ("journal_sequence_malformed", lambda: reverse(2**63)),
]


@pytest.mark.parametrize(("reason", "build"), MALFORMED)
def test_what_can_never_be_right_is_refused_when_it_is_made(reason: str, build: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        build()

    assert caught.value.reason == reason


def test_a_transfer_may_have_a_hundred_legs_and_name_an_account_once_in_each_asset() -> None:
    book = MemoryBook(deposit(), open_account(currency="JPY"))
    others = [leg(an_id(str(number)), 1) for number in range(97)]

    book.accept(transfer(leg(BUYER, -97), *others, leg(EXCHANGE, Money(-5, "JPY")), leg(BUYER, Money(5, "JPY"))))

    assert len(book.records[-1].postings) == 100

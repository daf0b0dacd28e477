"""Each guard of each command by its name, and that the earlier of two wins."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.ledger.commands.command import Command
from services.ledger.commands.expire_hold import ExpireHold
from services.money import AMOUNT_MINOR_MAX, Money
from services.runtime.errors import InvalidArgumentError
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    NOW,
    OTHER_SELLER,
    SELLER,
    STRANGER,
    an_id,
    capture,
    commit,
    deposit,
    eur,
    open_account,
    refund,
    reserve,
    set_limit,
    void,
)

SOON = NOW + timedelta(minutes=5)
LATER = NOW + timedelta(hours=1)
YEN = Money(100, "JPY")
FULL = AMOUNT_MINOR_MAX


def refusals_in_order(cases: list[tuple[str, Callable[[], MemoryBook], Command]]) -> list[object]:
    return [pytest.param(build, command, reason, id=reason) for reason, build, command in cases]


def rich() -> MemoryBook:
    return MemoryBook(deposit())


def held(**fields: object) -> MemoryBook:
    return MemoryBook(deposit(), reserve(**fields))  # type: ignore[arg-type]  # builders take what commands take


def open_and_overdue() -> MemoryBook:
    book = held(expires_at=SOON)
    book.pass_time(LATER)
    return book


def all_held() -> MemoryBook:
    """As much is held as amounts may be, and a limit makes as much again available."""
    return MemoryBook(set_limit(limit=FULL), deposit(amount=FULL), reserve("first", amount=FULL))


def closed() -> MemoryBook:
    return MemoryBook(deposit(), reserve(), void())


def captured() -> MemoryBook:
    return MemoryBook(deposit(), reserve(), capture())


RESERVE = refusals_in_order(
    [
        # Each command would be refused by the later guards too: no account, no amount, no time.
        ("hold_voided", lambda: MemoryBook(void()), reserve(amount=0, expires_at=NOW)),
        ("hold_exists", held, reserve(amount=0, expires_at=NOW, wallet=STRANGER)),
        ("account_not_open", MemoryBook, reserve(amount=0, expires_at=NOW)),
        ("account_not_open", rich, reserve(amount=Money(0, "JPY"), expires_at=NOW)),
        ("invalid_amount", rich, reserve(amount=0, expires_at=NOW)),
        ("invalid_amount", rich, reserve(amount=-1, expires_at=NOW)),
        ("expiry_in_the_past", rich, reserve(amount=10_001, expires_at=NOW)),
        ("expiry_too_far", rich, reserve(amount=10_001, expires_at=NOW + timedelta(days=32))),
        ("insufficient_funds", rich, reserve(amount=10_001, expires_at=SOON)),
        ("insufficient_funds", lambda: held(hold="first", amount=9_000), reserve(amount=1_001)),
        ("balance_overflow", all_held, reserve(amount=1)),
    ]
)
COMMIT = refusals_in_order(
    [
        ("hold_not_found", MemoryBook, commit(wallet=STRANGER)),
        ("not_hold_owner", open_and_overdue, commit(wallet=STRANGER)),
        ("not_hold_owner", closed, commit(service="intruder")),
        ("hold_closed", closed, commit()),
        ("hold_closed", captured, commit()),
        ("hold_expired", open_and_overdue, commit()),
    ]
)
CAPTURE = refusals_in_order(
    [
        ("hold_not_found", rich, capture(wallet=STRANGER, amount=YEN)),
        ("not_hold_owner", closed, capture(wallet=STRANGER, amount=YEN)),
        ("not_hold_owner", held, capture(service="intruder")),
        ("currency_mismatch", closed, capture(amount=YEN)),
        ("hold_closed", closed, capture(amount=eur(1))),
        ("hold_closed", lambda: MemoryBook(void()), capture()),
        ("hold_expired", open_and_overdue, capture(amount=eur(1))),
        ("capture_exists", lambda: MemoryBook(deposit(), reserve(), capture(parts=1)), capture(amount=eur(1))),
        ("allocations_mismatch", held, capture(amount=eur(2_000))),
        ("allocations_mismatch", held, capture(parts=2_000, amount=eur(1_000))),
        ("exceeds_hold", held, capture(parts=1_001)),
    ]
)
VOID = refusals_in_order(
    [
        ("not_hold_owner", captured, void(wallet=STRANGER)),
        ("not_hold_owner", closed, void(service="intruder")),
        ("hold_captured", captured, void()),
    ]
)
REFUND = refusals_in_order(
    [
        ("capture_not_found", MemoryBook, refund()),
        ("capture_not_found", held, refund(wallet=STRANGER)),
        ("capture_not_found", captured, refund(wallet=STRANGER, number=2)),
        ("not_hold_owner", captured, refund(wallet=STRANGER, parts=1_001)),
        ("exceeds_capture", captured, refund(parts=1_001)),
        ("exceeds_capture", captured, refund(parts={SELLER: 1, OTHER_SELLER: 1})),
        (
            "insufficient_funds",
            lambda: MemoryBook(deposit(), reserve(), capture(), reserve(hold="spends", wallet=SELLER, amount=975)),
            refund(parts=1),
        ),
    ]
)
OTHERS = refusals_in_order(
    [
        ("invalid_amount", lambda: MemoryBook(deposit(amount=FULL)), deposit(amount=0)),
        ("balance_overflow", lambda: MemoryBook(deposit(amount=FULL)), deposit(amount=1)),
        ("balance_overflow", lambda: MemoryBook(deposit(amount=FULL)), deposit(wallet=STRANGER, amount=1)),
        ("hold_not_found", MemoryBook, ExpireHold(hold_id=an_id("order"))),
        ("hold_not_due", lambda: held(expires_at=SOON), ExpireHold(hold_id=an_id("order"))),
    ]
)


@pytest.mark.parametrize(("build", "command", "reason"), RESERVE + COMMIT + CAPTURE + VOID + REFUND + OTHERS)
def test_a_guard_refuses_by_its_name_and_before_the_later_ones(
    build: Callable[[], MemoryBook], command: Command, reason: str
) -> None:
    refusal = build().refuse(command)

    assert refusal.reason == reason


@pytest.mark.parametrize(("build", "command", "reason"), RESERVE + COMMIT + VOID + REFUND + OTHERS)
def test_a_refused_command_changes_nothing(build: Callable[[], MemoryBook], command: Command, reason: str) -> None:
    book = build()
    before = (dict(book.state.accounts), dict(book.state.holds), len(book.records), len(book.events))

    book.refuse(command)

    assert (book.state.accounts, book.state.holds, len(book.records), len(book.events)) == before


def test_a_capture_into_a_full_wallet_is_refused_at_last() -> None:
    # A seller can only be full in a book that others filled: here the balance is set by hand.
    book = held()
    book.accept(open_account(SELLER))
    book.state.accounts[book.account(SELLER).code] = replace(book.account(SELLER), credits_posted=FULL)

    assert book.refuse(capture()).reason == "balance_overflow"


MALFORMED: list[tuple[str, Callable[[], object]]] = [
    ("idempotency_key_malformed", lambda: deposit(idempotency_key="")),
    ("idempotency_key_malformed", lambda: deposit(idempotency_key="é" * 65)),
    ("invalid_argument", lambda: deposit(service="")),
    ("invalid_argument", lambda: deposit(service="s" * 65)),
    ("note_too_long", lambda: deposit(note="é" * 513)),
    ("unknown_asset", lambda: open_account(currency="ZZZ")),
    ("expiry_missing", lambda: reserve(commit=False)),
    ("instant_malformed", lambda: reserve(expires_at=NOW.replace(tzinfo=None))),
    ("capture_number_malformed", lambda: capture(number=0)),
    ("capture_number_malformed", lambda: refund(number=2**31)),
    ("sellers_malformed", lambda: capture(parts={})),
    ("sellers_malformed", lambda: capture(parts={an_id(str(n)): 1 for n in range(101)})),
    ("sellers_malformed", lambda: replace(capture(), allocations=2 * capture().allocations)),
    ("sellers_malformed", lambda: refund(parts={})),
    ("sellers_malformed", lambda: replace(refund(), legs=2 * refund().legs)),
    ("invalid_amount", lambda: capture(parts={SELLER: 0}, amount=eur(0))),
    ("invalid_amount", lambda: refund(parts={SELLER: -1})),
    ("fee_malformed", lambda: capture(fee=10_001)),
    ("fee_malformed", lambda: capture(fee=-1)),
]


@pytest.mark.parametrize(("reason", "build"), MALFORMED)
def test_what_can_never_be_right_is_refused_when_it_is_made(reason: str, build: Callable[[], object]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        build()

    assert caught.value.reason == reason


def test_keys_and_notes_may_be_as_long_as_their_columns() -> None:
    book = MemoryBook(deposit(idempotency_key="é" * 64, service="s" * 64, note="é" * 512))

    assert book.account(BUYER).posted_minor == 10_000

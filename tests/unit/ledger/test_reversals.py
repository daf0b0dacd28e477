"""Reversals: a record undone by a new one, once, and never beyond what is there."""

import pytest

from services.ledger.domain.account import AccountType, system_account_code
from services.ledger.domain.hold import HoldState
from services.ledger.domain.journal import RecordKind
from services.ledger.domain.wallet_event import RecordReversed, RefundCredited, RefundDebited
from services.money import Money
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    EXCHANGE,
    OTHER_SELLER,
    SELLER,
    an_id,
    capture,
    commit,
    deposit,
    eur,
    leg,
    open_account,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    void,
    withdraw,
)


def newest(book: MemoryBook, kind: RecordKind) -> int:
    return max(record.sequence for record in book.records if record.kind is kind)


def balances(book: MemoryBook) -> dict[str, int]:
    return {code: account.balance_minor for code, account in book.state.accounts.items() if account.balance_minor}


def facts(book: MemoryBook, wallet: object = BUYER) -> list[object]:
    return [event.fact for event in book.events if event.wallet_id == wallet]


def sold(*, number: int = 1) -> MemoryBook:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000))
    book.accept(capture(parts={SELLER: 701, OTHER_SELLER: 299}, fee=333, number=number))
    return book


def test_a_reversed_deposit_leaves_nothing() -> None:
    book = MemoryBook(deposit(amount=1_000))

    receipt = book.accept(reverse(3))

    record = book.records[-1]
    assert balances(book) == {}
    assert (record.kind, record.reverses, record.sequence) == (RecordKind.REVERSE, 3, receipt.journal_sequence)
    assert [posting.amount_minor for posting in record.postings] == [1_000, -1_000]
    assert facts(book)[-1] == RecordReversed(3, eur(-1_000))


def test_a_reversed_withdrawal_brings_the_money_back() -> None:
    book = MemoryBook(deposit(amount=1_000), withdraw(amount=400))
    before = balances(MemoryBook(deposit(amount=1_000)))

    book.accept(reverse(newest(book, RecordKind.WITHDRAW)))

    assert balances(book) == before
    assert facts(book)[-1] == RecordReversed(4, eur(400))


def test_a_reversed_exchange_undoes_each_posting_in_each_asset() -> None:
    yen = Money(1_600, "JPY")
    book = MemoryBook(deposit(amount=1_000))
    before = balances(book)
    book.accept(transfer(leg(BUYER, -1_000), leg(EXCHANGE, 1_000), leg(EXCHANGE, -yen), leg(SELLER, yen)))
    sequence = newest(book, RecordKind.TRANSFER)

    book.accept(reverse(sequence))

    assert balances(book) == before
    assert facts(book)[-1] == RecordReversed(sequence, eur(1_000))
    assert facts(book, SELLER)[-1] == RecordReversed(sequence, -yen)


def test_a_reversed_capture_is_the_refund_of_all_of_it() -> None:
    book = sold()
    sequence = newest(book, RecordKind.CAPTURE)

    book.accept(reverse(sequence))

    record = book.records[-1]
    assert balances(book) == balances(MemoryBook(deposit(amount=1_000)))
    assert (book.hold().state, book.hold().refunded_minor) == (HoldState.CAPTURED, 1_000)
    assert (record.kind, record.reverses) == (RecordKind.REVERSE, sequence)
    assert facts(book)[-1] == RefundCredited(book.hold(), eur(1_000), 1)
    assert facts(book, SELLER)[-1] == RefundDebited(an_id("order"), 1, eur(701), eur(23), eur(0))
    assert {leg.reversed_by for leg in book.state.legs_of(an_id("order"))} == {record.sequence}
    assert book.refuse(reverse(sequence)).details == {"journal_sequence": str(record.sequence)}


def test_a_capture_reversed_after_refunds_gives_back_what_is_left_and_the_rest_of_the_fee() -> None:
    book = sold()
    for part in (1, 300):
        book.accept(refund(parts=part))
    book.accept(refund(parts={OTHER_SELLER: 299}))

    book.accept(reverse(newest(book, RecordKind.CAPTURE)))

    assert balances(book) == balances(MemoryBook(deposit(amount=1_000)))
    assert [posting.amount_minor for posting in book.records[-1].postings][-1] == 400
    assert book.state.accounts[system_account_code(AccountType.REVENUE, "EUR")].posted_minor == 0


def test_a_capture_of_which_all_was_refunded_has_nothing_to_reverse() -> None:
    book = sold()
    book.accept(refund(parts={SELLER: 701, OTHER_SELLER: 299}))

    assert book.refuse(reverse(newest(book, RecordKind.CAPTURE))).reason == "already_reversed"


def test_a_reversed_capture_refuses_refunds_and_another_capture_of_the_hold_does_not() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=400), capture(parts=600, number=2))
    first = min(record.sequence for record in book.records if record.kind is RecordKind.CAPTURE)

    book.accept(reverse(first))

    refusal = book.refuse(refund(parts=1))
    assert (refusal.reason, refusal.details) == ("capture_reversed", {"journal_sequence": str(len(book.records))})
    book.accept(refund(parts=600, number=2))
    assert book.hold().refunded_minor == 1_000


def test_a_part_reversed_leaves_the_rest_of_an_open_hold_to_be_captured() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=400))
    book.accept(reverse(newest(book, RecordKind.CAPTURE)))

    book.accept(capture(parts=600, number=2))

    assert (book.hold().captured_minor, book.hold().refunded_minor, book.account().posted_minor) == (1_000, 400, 400)


@pytest.mark.parametrize("in_one_batch", [True, False], ids=["in one batch", "later"])
def test_a_record_is_reversed_once(*, in_one_batch: bool) -> None:
    book = MemoryBook(deposit(amount=1_000), deposit(amount=1_000))
    commands = [reverse(3), reverse(3)]

    _, second = book.run(*commands) if in_one_batch else [book.run(command)[0] for command in commands]

    assert getattr(second, "reason", "") == "already_reversed"
    assert getattr(second, "details", {}) == {"journal_sequence": "5"}
    assert book.account().posted_minor == 1_000


def test_a_batch_can_reverse_what_it_wrote() -> None:
    book = MemoryBook()

    answers = book.run(deposit(amount=1_000), reverse(3), reverse(4), reverse(5))

    assert [getattr(answer, "reason", "done") for answer in answers] == [
        *("done", "done", "not_reversible", "record_not_found")
    ]
    assert balances(book) == {}


@pytest.mark.parametrize("kind", [kind for kind in RecordKind if kind is not RecordKind.DEPOSIT])
def test_only_what_moved_money_for_good_is_reversed(kind: RecordKind) -> None:
    book = sold()
    book.run(refund(parts=1), reserve(hold="other", wallet=SELLER, amount=1, expires_at=book.now.replace(hour=13)))
    book.run(
        commit("other", SELLER),
        void("other", SELLER),
        set_limit(),
        withdraw(SELLER, 1),
        transfer(leg(BUYER, -1), leg(SELLER, 1)),
    )
    book.run(reserve(hold="late", wallet=SELLER, amount=1, expires_at=book.now.replace(hour=13)), open_account())
    book.pass_time(book.now.replace(hour=14))
    book.run(capture("late", 1, SELLER), deposit(), reverse(3))

    answer = book.run(reverse(newest(book, kind)))[0]

    movers = {RecordKind.WITHDRAW, RecordKind.TRANSFER, RecordKind.CAPTURE}
    assert getattr(answer, "reason", "done") == ("done" if kind in movers else "not_reversible")


def test_money_that_was_spent_or_held_is_not_taken_back() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1))

    refusal = book.refuse(reverse(3))

    assert (refusal.reason, refusal.details) == (
        *("insufficient_funds", {"available_minor": "999", "needed_minor": "1000"}),
    )


def test_the_receiver_of_a_reversed_transfer_must_have_it_still() -> None:
    book = MemoryBook(deposit(amount=1_000), transfer(leg(BUYER, -400), leg(SELLER, 400)), withdraw(SELLER, 1))

    assert book.refuse(reverse(newest(book, RecordKind.TRANSFER))).reason == "insufficient_funds"

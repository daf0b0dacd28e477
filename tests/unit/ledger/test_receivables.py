"""Refunds that a seller can't pay: what lacks is owed, told, and paid off later."""

from services.ledger.commands.transfer import ReceivableRef
from services.ledger.domain.account import receivable_account_code
from services.ledger.domain.wallet_event import RefundDebited
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    FUNDING,
    OTHER_SELLER,
    SELLER,
    STRANGER,
    an_id,
    capture,
    deposit,
    eur,
    leg,
    pay_off,
    refund,
    reserve,
    reverse,
    set_limit,
    transfer,
    withdraw,
)


def owed(book: MemoryBook, seller: object = SELLER) -> int:
    account = book.state.accounts.get(receivable_account_code(seller, "EUR"))  # type: ignore[arg-type]  # an id
    return 0 if account is None else account.posted_minor


def sold_and_spent(spent: int = 975) -> MemoryBook:
    """A seller sold for 1,000, got 975 and took some of it away."""
    return MemoryBook(
        deposit(amount=1_000), reserve(amount=1_000), capture(parts=1_000, fee=250), withdraw(SELLER, spent)
    )


def test_a_shortfall_is_told_to_the_seller_with_the_refund() -> None:
    book = sold_and_spent(900)

    book.accept(refund(parts=400, shortfall_to_receivable=True))

    told = [event for event in book.events if event.wallet_id == SELLER][-1]
    assert told.fact == RefundDebited(an_id("order"), 1, eur(400), eur(10), eur(315))
    assert told.account.posted_minor == 0


def test_a_seller_with_enough_owes_nothing() -> None:
    book = sold_and_spent(500)

    book.accept(refund(parts=400, shortfall_to_receivable=True))

    assert (owed(book), book.account(SELLER).posted_minor) == (0, 85)
    assert receivable_account_code(SELLER, "EUR") not in book.state.accounts


def test_a_sellers_limit_pays_before_anything_is_owed() -> None:
    book = sold_and_spent()
    book.accept(set_limit(SELLER, 100))

    book.accept(refund(parts=400, shortfall_to_receivable=True))

    assert (owed(book), book.account(SELLER).posted_minor) == (290, -100)


def test_money_that_a_seller_has_on_hold_is_not_taken() -> None:
    book = sold_and_spent(475)
    book.accept(reserve(hold="buys", wallet=SELLER, amount=400))

    book.accept(refund(parts=400, shortfall_to_receivable=True))

    assert (owed(book), book.account(SELLER).posted_minor, book.account(SELLER).available_minor) == (290, 400, 0)


def test_each_seller_owes_for_itself_and_a_second_shortfall_adds_up() -> None:
    book = MemoryBook(deposit(amount=2_000), reserve(amount=2_000))
    book.accept(capture(parts={SELLER: 1_000, OTHER_SELLER: 1_000}, fee=0))
    book.run(withdraw(SELLER, 1_000), withdraw(OTHER_SELLER, 1_000))

    for part in (1, 300):
        book.accept(refund(parts={SELLER: part, OTHER_SELLER: 2 * part}, shortfall_to_receivable=True))

    assert (owed(book), owed(book, OTHER_SELLER)) == (301, 602)
    assert book.account().posted_minor == 903
    assert sum(account.balance_minor for account in book.state.accounts.values()) == 0


def test_a_debt_is_paid_off_by_a_transfer_and_by_no_more_than_it_is() -> None:
    book = sold_and_spent()
    book.accept(refund(parts=400, shortfall_to_receivable=True))
    book.accept(deposit(SELLER, 1_000))

    refusal = book.refuse(pay_off(391))

    assert (refusal.reason, refusal.details) == ("exceeds_receivable", {"owed_minor": "390"})
    book.accept(pay_off(390))
    assert (owed(book), book.account(SELLER).posted_minor) == (0, 610)
    assert book.refuse(pay_off(1)).reason == "exceeds_receivable"


def test_nobody_pays_a_debt_off_that_never_was() -> None:
    assert MemoryBook(deposit(SELLER)).refuse(pay_off(1)).reason == "account_not_open"


def test_a_debt_can_be_charged_by_a_transfer_too() -> None:
    book = MemoryBook(transfer(leg(ReceivableRef(STRANGER), -70), leg(BUYER, 70)))

    assert (owed(book, STRANGER), book.account().posted_minor) == (70, 70)


def test_a_charge_that_was_partly_paid_off_is_not_reversed() -> None:
    charge = transfer(leg(ReceivableRef(SELLER), -70), leg(FUNDING, 70))
    book = MemoryBook(charge, deposit(SELLER, 100), pay_off(1))
    sequence = next(record.sequence for record in book.records if record.kind.value == "transfer")

    assert book.refuse(reverse(sequence)).reason == "exceeds_receivable"


def test_a_reversed_capture_may_leave_its_seller_owing() -> None:
    book = sold_and_spent()
    sequence = next(record.sequence for record in book.records if record.kind.value == "capture")

    assert book.refuse(reverse(sequence)).reason == "insufficient_funds"
    book.accept(reverse(sequence, shortfall_to_receivable=True))

    assert (owed(book), book.account().posted_minor) == (975, 1_000)

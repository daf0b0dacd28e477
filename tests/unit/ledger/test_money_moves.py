"""Withdrawals, transfers and limits: what they post, record and tell."""

from datetime import timedelta

import pytest

from services.ledger.domain.account import AccountType, receivable_account_code, system_account_code
from services.ledger.domain.wallet_event import AccountOpened, FundsTransferred, FundsWithdrawn, LimitChanged
from services.money import AMOUNT_MINOR_MAX, Money
from tests.support.ledger_book import MemoryBook
from tests.support.ledger_commands import (
    BUYER,
    EXCHANGE,
    FUNDING,
    NOW,
    OTHER_SELLER,
    REVENUE,
    SELLER,
    STRANGER,
    capture,
    deposit,
    eur,
    leg,
    open_account,
    refund,
    reserve,
    set_limit,
    transfer,
    withdraw,
)

YESTERDAY = NOW - timedelta(days=1)


def system_minor(book: MemoryBook, account_type: AccountType, currency: str = "EUR") -> int:
    return book.state.accounts[system_account_code(account_type, currency)].posted_minor


def kinds(book: MemoryBook) -> list[str]:
    return [record.kind.value for record in book.records]


def facts(book: MemoryBook, wallet: object = BUYER) -> list[object]:
    return [event.fact for event in book.events if event.wallet_id == wallet]


def amounts(book: MemoryBook) -> list[int]:
    return [posting.amount_minor for posting in book.records[-1].postings]


def test_a_withdrawal_pays_the_funding_account_back() -> None:
    book = MemoryBook(deposit(amount=1_000))

    receipt = book.accept(withdraw(amount=400))

    assert (book.account().posted_minor, system_minor(book, AccountType.FUNDING)) == (600, 600)
    assert (kinds(book)[-1], book.records[-1].sequence, amounts(book)) == (
        *("withdraw", receipt.journal_sequence, [-400, 400]),
    )
    assert facts(book)[-1] == FundsWithdrawn(eur(400))


def test_a_withdrawal_may_take_what_the_limit_lends_and_not_what_is_held() -> None:
    book = MemoryBook(deposit(amount=100), set_limit(limit=50), reserve(amount=30))

    assert book.refuse(withdraw(amount=121)).details == {"available_minor": "120", "needed_minor": "121"}
    book.accept(withdraw(amount=120))
    assert (book.account().posted_minor, book.account().available_minor) == (-20, 0)


def test_a_transfer_moves_money_between_many_accounts_in_one_entry() -> None:
    book = MemoryBook(deposit(amount=1_000), deposit(STRANGER, 500))

    book.accept(
        transfer(leg(BUYER, -600), leg(STRANGER, -100), leg(SELLER, 450), leg(OTHER_SELLER, 200), leg(REVENUE, 50))
    )

    assert [book.account(wallet).posted_minor for wallet in (BUYER, STRANGER, SELLER, OTHER_SELLER)] == [
        *(400, 400, 450, 200)
    ]
    assert system_minor(book, AccountType.REVENUE) == 50
    assert (kinds(book)[-1], amounts(book)) == ("transfer", [-600, -100, 450, 200, 50])
    assert facts(book)[-1] == FundsTransferred(eur(-600))
    assert facts(book, SELLER) == [AccountOpened(), FundsTransferred(eur(450))]


def test_an_exchange_of_assets_is_four_postings_and_each_asset_sums_to_zero() -> None:
    book = MemoryBook(deposit(amount=10_000))
    yen = Money(1_600, "JPY")

    book.accept(transfer(leg(BUYER, -1_000), leg(EXCHANGE, 1_000), leg(EXCHANGE, -yen), leg(BUYER, yen)))

    assert (book.account().posted_minor, book.account(currency="JPY").posted_minor) == (9_000, 1_600)
    assert system_minor(book, AccountType.EXCHANGE) == 1_000
    assert system_minor(book, AccountType.EXCHANGE, "JPY") == -1_600, "an exchange account goes both ways"
    assert amounts(book) == [-1_000, 1_000, -1_600, 1_600]
    assert facts(book)[-2:] == [FundsTransferred(eur(-1_000)), FundsTransferred(yen)]
    for currency in ("EUR", "JPY"):
        accounts = [account for account in book.state.accounts.values() if account.currency == currency]
        assert sum(account.balance_minor for account in accounts) == 0


def test_a_receiver_is_paid_only_from_the_accounts_of_its_own_asset() -> None:
    book = MemoryBook(deposit(amount=10_000))

    assert book.refuse(transfer(leg(BUYER, Money(-1, "JPY")), leg(SELLER, Money(1, "JPY")))).reason == (
        "account_not_open"
    )


def test_the_platforms_own_accounts_pay_whatever_they_hold() -> None:
    book = MemoryBook(transfer(leg(REVENUE, -100), leg(BUYER, 100)))

    assert (system_minor(book, AccountType.REVENUE), book.account().posted_minor) == (-100, 100)


def test_no_account_passes_the_largest_balance_by_a_transfer() -> None:
    book = MemoryBook(deposit(amount=AMOUNT_MINOR_MAX), transfer(leg(REVENUE, -5), leg(SELLER, 5)))

    assert book.refuse(transfer(leg(SELLER, -5), leg(BUYER, 5))).reason == "balance_overflow"
    assert book.refuse(transfer(leg(FUNDING, -1), leg(STRANGER, 1))).reason == "balance_overflow"


def test_a_limit_lends_and_is_told() -> None:
    book = MemoryBook(open_account(), set_limit(limit=500))

    book.accept(withdraw(amount=500))

    assert book.account().posted_minor == -500
    assert facts(book)[1] == LimitChanged(0)
    assert book.records[1].account is not None
    assert (book.records[1].account.overdraft_limit, book.records[1].account.limit_sequence) == (500, 2)


def test_setting_a_limit_opens_the_account_if_need_be() -> None:
    assert kinds(MemoryBook(set_limit(limit=500))) == ["account_opened", "limit_set"]
    assert kinds(MemoryBook(set_limit(limit=0))) == ["account_opened"]


def test_setting_the_same_limit_again_is_success_without_a_record() -> None:
    book = MemoryBook(set_limit(limit=500))

    assert book.accept(set_limit(limit=500)).journal_sequence == 0
    assert len(book.records) == 2


def test_a_limit_falls_to_what_is_in_use_and_no_further() -> None:
    book = MemoryBook(set_limit(limit=500), withdraw(amount=200), reserve(amount=100))

    refusal = book.refuse(set_limit(limit=299))

    assert (refusal.reason, refusal.details) == ("limit_in_use", {"overdraft_limit_minor_min": "300"})
    book.accept(set_limit(limit=300))
    assert book.account().available_minor == 0


def test_a_limit_can_be_taken_away_once_nothing_of_it_is_used() -> None:
    book = MemoryBook(set_limit(limit=500), withdraw(amount=200), deposit(amount=200), set_limit(limit=0))

    assert book.refuse(withdraw(amount=1)).reason == "insufficient_funds"


def test_a_balance_may_stand_below_zero_only_as_far_as_two_to_the_53() -> None:
    book = MemoryBook(set_limit(limit=AMOUNT_MINOR_MAX), withdraw(amount=AMOUNT_MINOR_MAX))

    assert book.account().posted_minor == -AMOUNT_MINOR_MAX
    assert book.refuse(withdraw(amount=1)).reason == "insufficient_funds"


@pytest.mark.parametrize(
    "command",
    [
        deposit(amount=5, effective_at=YESTERDAY),
        withdraw(amount=5, effective_at=YESTERDAY),
        transfer(leg(BUYER, -5), leg(SELLER, 5), effective_at=YESTERDAY),
    ],
    ids=lambda command: command.kind,
)
def test_an_effective_date_is_the_records_second_date(command: object) -> None:
    book = MemoryBook(deposit(amount=100))

    receipt = book.accept(command)  # type: ignore[arg-type]  # each is a command

    newest = book.records[-1]
    assert (newest.effective_at, newest.recorded_at) == (YESTERDAY, receipt.recorded_at)
    assert newest.recorded_at > NOW
    assert all(record.effective_at == record.recorded_at for record in book.records[:-1]), "accounts are opened now"


def test_what_a_seller_lacks_is_charged_to_the_receivable_account_if_the_command_says_so() -> None:
    book = MemoryBook(deposit(amount=1_000), reserve(amount=1_000), capture(parts=1_000, fee=250))
    book.accept(withdraw(SELLER, 900))

    assert book.refuse(refund(parts=400)).reason == "insufficient_funds"
    book.accept(refund(parts=400, shortfall_to_receivable=True))

    owed = book.state.accounts[receivable_account_code(SELLER, "EUR")]
    assert (owed.posted_minor, owed.wallet_id, owed.account_type) == (315, None, AccountType.RECEIVABLE)
    assert (book.account(SELLER).posted_minor, book.account().posted_minor) == (0, 400)
    assert amounts(book) == [-75, -315, -10, 400]

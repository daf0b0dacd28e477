import pytest
from msgspec.structs import replace

from services.ledger.domain.account import (
    Account,
    AccountType,
    receivable_account_code,
    system_account_code,
    wallet_account_code,
)
from services.ledger.domain.refusals import BalanceOverflowError, InsufficientFundsError
from services.money import AMOUNT_MINOR_MAX
from tests.support.ledger_commands import BUYER


def an_account(account_type: AccountType = AccountType.WALLET, *, overdraft: int = 0) -> Account:
    return Account(
        account_id=1,
        code="code",
        account_type=account_type,
        wallet_id=BUYER,
        currency="EUR",
        opened_sequence=1,
        overdraft_limit=overdraft,
    )


def test_a_wallet_grows_by_credits_and_holds_take_from_what_is_available() -> None:
    account = an_account().credit(100).debit(30).set_aside(20)

    assert (account.posted_minor, account.pending_outgoing_minor, account.available_minor) == (70, 20, 50)
    assert account.balance_minor == 70
    assert account.account_sequence == 2


def test_funding_grows_by_debits() -> None:
    account = an_account(AccountType.FUNDING).debit(100).credit(30).set_aside(20)

    assert (account.posted_minor, account.pending_outgoing_minor, account.available_minor) == (70, 20, 50)
    assert account.balance_minor == -70


def test_an_overdraft_limit_adds_to_what_is_available() -> None:
    account = an_account(overdraft=50)

    account.require_available(50)
    with pytest.raises(InsufficientFundsError) as caught:
        account.require_available(51)
    assert caught.value.details == {"available_minor": "50", "needed_minor": "51"}


@pytest.mark.parametrize("account_type", [AccountType.WALLET, AccountType.FUNDING])
def test_what_is_available_is_told_within_what_json_carries_and_may_be_spent_beyond(account_type: AccountType) -> None:
    empty = an_account(account_type, overdraft=AMOUNT_MINOR_MAX)
    account = empty.debit(7) if account_type.grows_by_debits else empty.credit(7)

    account.require_available(AMOUNT_MINOR_MAX + 7)
    assert (account.available_minor, account.told_available_minor) == (AMOUNT_MINOR_MAX + 7, AMOUNT_MINOR_MAX)
    assert an_account(account_type, overdraft=50).told_available_minor == 50


def test_a_balance_stays_within_two_to_the_53_on_both_sides() -> None:
    full = an_account().credit(AMOUNT_MINOR_MAX)
    empty = an_account().debit(AMOUNT_MINOR_MAX)

    with pytest.raises(BalanceOverflowError):
        full.credit(1)
    with pytest.raises(BalanceOverflowError):
        empty.debit(1)


@pytest.mark.parametrize("verb", ["credit", "debit"])
def test_a_turnover_stays_within_the_columns_of_the_database(verb: str) -> None:
    worn = replace(an_account(), debits_posted=2**63 - 1, credits_posted=2**63 - 1)

    with pytest.raises(BalanceOverflowError):
        getattr(worn, verb)(1)


def test_no_wallet_has_the_code_of_a_system_account() -> None:
    system = {system_account_code(kind, "EUR") for kind in AccountType}

    assert len(system) == len(AccountType)
    assert {code.split(":")[0] for code in system} == {"system"}
    assert receivable_account_code(BUYER, "EUR").startswith("receivable:")
    assert wallet_account_code(BUYER, "EUR") == f"wallet:{BUYER}:EUR"

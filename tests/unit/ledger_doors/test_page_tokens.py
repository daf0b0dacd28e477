"""Opaque cursors."""

import pytest

from services.ledger.domain.account import AccountType
from services.ledger.inbound.page_tokens import page_token, position_of
from services.ledger.queries.accounts import AccountsFilter
from services.runtime.errors import InvalidArgumentError

WANTED = AccountsFilter(types=frozenset({AccountType.WALLET, AccountType.FUNDING}), currency="EUR")
SAME_AGAIN = AccountsFilter(types=frozenset({AccountType.FUNDING, AccountType.WALLET}), currency="EUR")


def test_a_page_goes_on_where_the_one_before_ended() -> None:
    assert position_of(page_token(42, WANTED), 0, SAME_AGAIN) == 42
    assert position_of(page_token("wallet:a:EUR", WANTED), "", SAME_AGAIN) == "wallet:a:EUR"


def test_no_token_is_the_beginning_and_the_end_has_none() -> None:
    assert position_of("", 0, WANTED) == 0
    assert (page_token(0, WANTED), page_token("", WANTED)) == ("", "")


@pytest.mark.parametrize(
    "token",
    [
        *("nonsense", "-1", "9" * 19, "é", page_token(42, AccountsFilter()), page_token("text", WANTED)),
        *(page_token(-1, WANTED), page_token(2**63, WANTED)),
    ],
)
def test_a_token_of_another_request_or_of_nobody_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        position_of(token, 0, WANTED, field="cursor")

    assert (refused.value.reason, refused.value.details) == ("cursor_malformed", {"field": "cursor"})

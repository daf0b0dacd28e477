"""Names are the same each time, and never the same for two things."""

import re

from hypothesis import given
from hypothesis import strategies as st

from services.embedded.replay.keys import email_of, idempotency_key, password_of, run_id_of, sku_of
from services.money import AMOUNT_MINOR_MAX, Money

CODES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
GBP = Money(255, "GBP")


def test_a_plain_stock_code_stays_readable() -> None:
    assert sku_of("85123A", GBP) == "85123A@255:GBP"
    assert sku_of("BANK CHARGES", GBP) == "BANK+20CHARGES@255:GBP"
    assert email_of("17850.0") == "customer-17850.0@replay.example"


@given(code=CODES, minor=st.integers(1, AMOUNT_MINOR_MAX))
def test_a_sku_is_always_one_that_the_platform_takes(code: str, minor: int) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._@:+-]{1,64}", sku_of(code, Money(minor, "GBP")), re.ASCII)


@given(one=CODES, other=CODES)
def test_two_stock_codes_never_share_a_sku_nor_two_customers_an_address(one: str, other: str) -> None:
    assert (sku_of(one, GBP) == sku_of(other, GBP)) == (one == other)
    assert (email_of(one) == email_of(other)) == (one == other)


@given(customer=CODES)
def test_an_address_survives_being_put_in_lower_case(customer: str) -> None:
    email = email_of(customer)

    assert email == email.lower()
    assert re.fullmatch(r"customer-[a-z0-9.-]{1,50}@replay\.example", email)


def test_the_price_and_the_currency_are_part_of_the_sku() -> None:
    assert len({sku_of("1", GBP), sku_of("1", Money(256, "GBP")), sku_of("1", Money(255, "EUR"))}) == 3


@given(parts=st.lists(st.text(max_size=3), max_size=4), others=st.lists(st.text(max_size=3), max_size=4))
def test_different_parts_give_different_keys(parts: list[str], others: list[str]) -> None:
    assert (idempotency_key("run", "order", *parts) == idempotency_key("run", "order", *others)) == (parts == others)
    assert (run_id_of(b"", *parts) == run_id_of(b"", *others)) == (parts == others)


def test_a_key_fits_the_header_even_with_the_longest_run_id() -> None:
    key = idempotency_key("r" * 40, "refund", "C536379", "17850.0")

    assert re.fullmatch(r"[!-~]{1,100}", key)


def test_passwords_depend_on_the_secret_and_the_customer() -> None:
    passwords = {password_of(secret, email) for secret in (b"1", b"2") for email in ("a@x", "b@x")}

    assert len(passwords) == 4
    assert password_of(b"1", "a@x") in passwords

"""What forms say before and after something is refused: how much, and for how long."""

import re

import pytest
from playwright.async_api import expect

from tests.support.console_tab import ConsoleTab, OpenTab
from tests.support.public_shop import PublicShop

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]


async def test_a_top_up_says_how_much_there_is_in_the_currency_that_is_chosen(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, person = await open_tab(), await shop.person()
    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    form = tab.page.get_by_role("form", name="Top up")

    await expect(form.get_by_text("Up to €10,000.00.")).to_be_visible()
    await form.get_by_label("Currency").select_option("JPY")
    await expect(form.get_by_text("Up to JP¥1,000,000.")).to_be_visible()
    await fill_and_send(tab, "1000001")
    await expect(form.get_by_text("That is more than a demo gives.")).to_be_visible()


async def fill_and_send(tab: ConsoleTab, amount: str) -> None:
    form = tab.page.get_by_role("form", name="Top up")
    await form.get_by_label("Amount").fill(amount)
    await form.get_by_role("button", name="Top up").click()


async def test_who_guessed_too_often_is_told_for_how_long_to_wait(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person()
    await tab.open("/sign-in")
    await tab.page.get_by_label("E-mail address").fill(person.email)
    await tab.page.get_by_label("Password").fill("a wrong password")
    for _ in range(10):
        answer = await tab.page.request.post(
            f"{tab.base_url}/auth/login", data={"email": person.email, "password": "a wrong password"}
        )
        assert answer.status == 401

    await tab.page.get_by_role("button", name="Sign in").click()

    await expect(tab.page.get_by_text(re.compile(r"Try again in \d+ s\."))).to_be_visible()

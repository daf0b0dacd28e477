"""What the page of a wallet does when much happens at once, when it misses something, and without any WebSocket."""

import asyncio
import itertools
import re

import pytest
from playwright.async_api import Route, expect

from tests.support.console_tab import OpenTab
from tests.support.public_shop import PublicShop, eur

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]

DEPOSITS = 24

NO_SOCKET = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onclose({ code: 1006 }), 0); }
  close() {}
};
"""
"""A network that lets none through."""

TOLD_SOCKET = """
window.WebSocket = class {
  constructor() {
    window.hear = (message) => this.onmessage({ data: JSON.stringify(message) });
    setTimeout(() => hear({ type: "hello", last_sequence: 1 }), 0);
  }
  close() {}
};
"""
"""One that hears what a test says."""


async def test_a_wallet_in_which_much_happens_reads_its_statement_now_and_then(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    await expect(tab.page.locator(".purse .pulse.live")).to_be_visible()
    await expect(tab.page.locator(".entry")).to_have_count(1)
    began = await tab.page.evaluate("performance.now()")
    reads: list[str] = []
    tab.page.on("request", lambda sent: reads.append(sent.url) if "/wallet/statement?" in sent.url else None)

    await asyncio.gather(*(shop.treasury.deposit(person.email, eur(1)) for _ in range(DEPOSITS)))
    await expect(tab.page.locator("#available")).to_have_text("€10.24")
    await expect(tab.page.locator(".entry").first).to_contain_text("balance €10.24")

    lasted_seconds = (await tab.page.evaluate("performance.now()") - began) / 1000
    assert len(reads) <= 2 + lasted_seconds
    assert len(reads) < DEPOSITS / 2


async def test_what_is_asked_for_twice_is_listed_once_and_the_keyboard_goes_on_there(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, person = await open_tab(), await shop.person()
    for _ in range(20):
        await shop.treasury.deposit(person.email, eur(1))
    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    await expect(tab.page.locator(".entry")).to_have_count(15)
    may_answer = asyncio.Event()
    statuses = itertools.chain([404], itertools.repeat(200))

    async def answer_late(route: Route) -> None:
        await may_answer.wait()
        if next(statuses) == 404:
            await route.fulfill(status=404, json={"reason": "cursor_unknown", "detail": "Too old."})
        else:
            await route.continue_()

    await tab.page.route(re.compile("/wallet/statement.*cursor="), answer_late)
    more = tab.page.get_by_role("button", name="Show more")
    for _ in range(3):
        await more.press("Enter")
    may_answer.set()
    again = tab.page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    may_answer.clear()
    await more.press("Enter")
    await more.press("Enter")
    may_answer.set()

    await expect(tab.page.locator(".entry")).to_have_count(20)
    await expect(more).to_be_hidden()
    await expect(tab.page.locator(".entry summary").nth(15)).to_be_focused()
    assert tab.errors == []


async def test_where_no_socket_gets_through_balances_are_read_all_the_same(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    await tab.page.add_init_script(NO_SOCKET)
    await tab.sign_in(person.email)

    await expect(tab.purse).to_contain_text("€10.00")
    await expect(tab.page.get_by_text("The live connection is lost.")).to_be_visible()
    await shop.treasury.deposit(person.email, eur(250))
    await expect(tab.purse).to_contain_text("€12.50")


async def test_a_page_that_must_reload_shows_what_it_was_never_told(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    await tab.page.add_init_script(TOLD_SOCKET)
    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    await expect(tab.page.locator(".entry")).to_have_count(1)
    await shop.treasury.deposit(person.email, eur(250))

    await tab.page.evaluate("hear({ type: 'reload_required', last_sequence: 900 })")

    await expect(tab.page.locator("#available")).to_have_text("€12.50")
    await expect(tab.page.locator(".entry")).to_have_count(2)

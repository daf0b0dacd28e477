"""Where pages are left in the middle: another tab, the back button, a connection that comes back more than once."""

import asyncio

import pytest
from playwright.async_api import Route, WebSocket, expect

from services.runtime.ids import new_id
from tests.browser.test_pure_modules import ask
from tests.support.console_tab import ConsoleTab, OpenTab
from tests.support.public_shop import PASSWORD, PublicShop, eur

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]


async def test_a_tab_never_shows_one_user_while_the_cookie_is_anothers(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, first, second = await open_tab(), await shop.person(funds_minor=100), await shop.person(funds_minor=700)
    await tab.sign_in(first.email)
    other = ConsoleTab(page=await tab.page.context.new_page(), base_url=tab.base_url)
    await other.open("/wallet")
    await other.shows("Wallet")

    # As another issuer's page does it: the cookie changes, and no form of the console knows.
    body = {"email": second.email, "password": PASSWORD}
    begun = await other.page.evaluate(
        """async (body) => (await fetch("/console/session", {
          method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
        })).status""",
        body,
    )
    await other.page.reload()
    await expect(other.purse).to_contain_text("€7.00")

    assert begun == 200
    await expect(tab.purse).to_contain_text("€7.00")
    await expect(tab.page.get_by_role("link", name=f"Account of {second.email}")).to_be_visible()


async def test_a_tab_of_the_same_user_goes_on_when_another_one_is_opened(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=100)
    await tab.sign_in(person.email)
    await tab.page.evaluate("window.neverLoadedAgain = true")

    other = ConsoleTab(page=await tab.page.context.new_page(), base_url=tab.base_url)
    await other.open("/wallet")
    await other.shows("Wallet")
    await expect(other.purse).to_contain_text("€1.00")

    assert await tab.page.evaluate("window.neverLoadedAgain")


async def test_a_question_goes_with_the_page_that_asked_it(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    await tab.sign_in(person.email)
    await tab.go("/orders", "Orders")
    await tab.go("/wallet", "Wallet")
    await tab.page.get_by_text("Withdraw", exact=True).first.click()
    form = tab.page.get_by_role("form", name="Withdraw")
    await form.get_by_label("Amount").fill("2.00")
    await form.get_by_role("button", name="Withdraw").click()
    await expect(tab.page.get_by_role("heading", name="Withdraw €2.00?")).to_be_visible()

    await tab.page.go_back()

    await tab.shows("Orders")
    await expect(tab.page.get_by_role("dialog")).to_be_hidden()
    assert (await person.balance()).available == eur(1_000)


async def test_a_filter_keeps_the_focus(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person()
    await tab.sign_in(person.email)
    await tab.go("/orders", "Orders")

    chosen = tab.page.get_by_label("State")
    await chosen.focus()
    await chosen.select_option("SETTLED")
    await expect(tab.page.get_by_role("heading", name="None in this state")).to_be_visible()

    await expect(tab.page.get_by_label("State")).to_be_focused()


async def test_however_often_somebody_tries_now_there_is_one_connection(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    sockets: list[WebSocket] = []
    have_tried = asyncio.Event()

    async def wait_until_all_have_tried(route: Route) -> None:
        await have_tried.wait()
        await route.continue_()

    tab.page.on("websocket", lambda socket: sockets.append(socket))  # noqa: PLW0108 - Playwright takes no method of C
    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    await expect(tab.page.locator(".purse .pulse.live")).to_be_visible()

    await tab.page.route("**/auth/ticket", wait_until_all_have_tried)
    await tab.page.context.set_offline(offline=True)
    await expect(tab.page.locator(".purse .pulse.lost")).to_be_visible()
    await tab.page.context.set_offline(offline=False)
    await ask(tab, "live", "[it.live.retryNow(), it.live.retryNow()].length")
    have_tried.set()
    await expect(tab.page.locator(".purse .pulse.live")).to_be_visible()
    await shop.treasury.deposit(person.email, eur(250))
    await expect(tab.page.locator("#available")).to_have_text("€12.50")

    await expect(tab.page.locator(".feed li")).to_have_count(1)
    assert len([socket for socket in sockets if not socket.is_closed()]) == 1


async def test_a_passwords_spaces_belong_to_it(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, email, password = await open_tab(), f"spaces-{new_id()}@shop.example", " a long one "
    await shop.treasury.another().register(email, password)

    await tab.sign_in(email, password)


async def test_a_link_to_the_sign_in_puts_no_words_of_its_own_there(open_tab: OpenTab) -> None:
    tab = await open_tab()

    await tab.open("/sign-in?problem=Call+0900+to+unlock+your+account")
    await tab.shows("Every cent has a journal entry.")

    await expect(tab.page.get_by_role("alert").first).to_contain_text("That sign-in didn't work over there.")
    await expect(tab.page.get_by_text("0900")).to_have_count(0)

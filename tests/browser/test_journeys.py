"""What people do: buy, give back, lose the connection, use the keyboard alone, press twice."""

import asyncio
import re
from uuid import UUID

import pytest
from playwright.async_api import BrowserContext, Route, expect

from services.runtime.ids import new_id
from tests.support.console_tab import ConsoleTab, OpenTab
from tests.support.platform import PlatformProcess, run_command
from tests.support.public_shop import PASSWORD, Person, PublicShop, eur, until, until_state

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]

WHAT_HAS_THE_FOCUS = """() => {
  const one = document.activeElement;
  const label = one.labels?.[0]?.textContent ?? "";
  return [one.getAttribute("aria-label") ?? "", label, one.textContent, getComputedStyle(one).outlineStyle];
}"""
"""Its names, and whether it is seen to have it."""


def order_id_of(tab: ConsoleTab) -> UUID:
    return UUID(tab.page.url.rpartition("/")[2])


async def top_up(tab: ConsoleTab, amount: str) -> None:
    await tab.go("/wallet", "Wallet")
    form = tab.page.get_by_role("form", name="Top up")
    await form.get_by_label("Amount").fill(amount)
    await form.get_by_role("button", name="Top up").click()


async def buy_what_is_named(tab: ConsoleTab, title: str) -> UUID:
    await tab.go("/shop", "Shop")
    await tab.page.get_by_role("button", name=f"Add {title} to the cart").click()
    await tab.go("/cart", "Cart")
    await tab.page.get_by_role("button", name="Place the order").click()
    await tab.agree("Place the order")
    await tab.shows(re.compile("Order …"))
    return order_id_of(tab)


async def offer(shop: PublicShop, title: str, price_minor: int) -> Person:
    seller = await shop.person("merchant")
    await seller.client.create_product(f"sku-{new_id()}", title, eur(price_minor), 10)
    return seller


async def test_sign_up_deposit_order_refund_and_the_balance_moves_without_a_reload(
    open_tab: OpenTab, shop: PublicShop, running: PlatformProcess
) -> None:
    title = f"Lamp {new_id()}"
    seller = await offer(shop, title, 1_250)
    buyer, selling = await open_tab(), await open_tab()
    await buyer.register(f"buyer-{new_id()}@shop.example")
    await expect(buyer.purse).to_contain_text("Empty wallet")
    await buyer.page.evaluate("window.neverLoadedAgain = true")

    await top_up(buyer, "100")
    await expect(buyer.purse).to_contain_text("€100.00")
    await expect(buyer.page.locator("#available")).to_have_text("€100.00")
    order_id = await buy_what_is_named(buyer, title)
    await expect(buyer.purse).to_contain_text("€87.50")
    await expect(buyer.page.locator(".way-steps > .done")).to_have_count(9)
    await expect(buyer.page.locator(".page-head .badge")).to_have_text("Paid")
    trace = buyer.page.get_by_role("link", name=re.compile("Its trace"))
    await expect(trace).to_have_attribute("href", re.compile("^https://zipkin.example/traces/[0-9a-f]{32}$"))

    await selling.sign_in(seller.email)
    await selling.go(f"/orders/{order_id}", re.compile("Order …"))
    await selling.page.get_by_label(f"{title}: pieces to refund").fill("1")
    await selling.page.get_by_role("button", name="Refund pieces").click()
    await selling.agree("Refund")

    await expect(buyer.purse).to_contain_text("€100.00")
    await expect(buyer.page.locator(".page-head .badge")).to_have_text("Refunded")
    assert await buyer.page.evaluate("window.neverLoadedAgain")
    for tab in (buyer, selling):
        await tab.assert_all_was_clean()
    await running.assert_invariants_hold()


async def test_an_entry_that_is_being_read_stays_open_while_money_moves(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    await expect(tab.page.locator(".purse .pulse.live")).to_be_visible()
    await tab.page.locator(".entry summary").first.click()
    await expect(tab.page.get_by_text("Chained by its hash")).to_be_visible()

    await shop.treasury.deposit(person.email, eur(250))
    await expect(tab.page.locator("#available")).to_have_text("€12.50")
    await expect(tab.page.locator(".feed li")).to_contain_text("Deposit")

    await expect(tab.page.get_by_text("Chained by its hash")).to_be_visible()
    await tab.page.get_by_role("button", name="Show the new entries").click()
    await expect(tab.page.locator(".entry")).to_have_count(2)


async def test_after_a_restart_the_page_shows_what_was_missed(
    open_tab: OpenTab, shop: PublicShop, running: PlatformProcess
) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=1_000)
    await tab.sign_in(person.email)
    await expect(tab.purse).to_contain_text("€10.00")
    await expect(tab.page.locator(".purse .pulse.live")).to_be_visible()

    await tab.page.context.set_offline(offline=True)
    await asyncio.to_thread(running.kill)
    await expect(tab.page.get_by_text("The live connection is lost.")).to_be_visible()
    await asyncio.to_thread(running.start)
    await shop.open()
    await shop.treasury.deposit(person.email, eur(250))
    await tab.page.context.set_offline(offline=False)

    await expect(tab.page.get_by_text("Back again.")).to_be_visible()
    await expect(tab.page.locator(".missed li")).to_have_text("Deposit +€2.50")
    await expect(tab.purse).to_contain_text("€12.50")
    await expect(tab.page.get_by_text("The live connection is lost.")).to_be_hidden()


async def test_an_order_can_be_placed_by_the_keyboard_alone(open_tab: OpenTab, shop: PublicShop) -> None:
    title = f"Chair {new_id()}"
    await offer(shop, title, 900)
    tab, person = await open_tab(), await shop.person(funds_minor=5_000)
    await tab.open("/sign-in")
    await tab.shows("Every cent has a journal entry.")
    keyboard = tab.page.keyboard

    await keyboard.press("Tab")
    await expect(tab.page.get_by_role("link", name="Skip to the page's content")).to_be_focused()
    await tab_to(tab, "E-mail address")
    await keyboard.type(person.email)
    await tab_to(tab, "Password")
    await keyboard.type(PASSWORD)
    await keyboard.press("Enter")
    await tab.shows("Shop")
    await tab_to(tab, f"Add {title} to the cart")
    await keyboard.press("Enter")
    await tab_to(tab, "Cart", backwards=True)
    await keyboard.press("Enter")
    await tab.shows("Cart")
    await expect(tab.page.get_by_role("heading", level=1)).to_be_focused()
    await tab_to(tab, "Place the order")
    await keyboard.press("Enter")
    await tab_to(tab, "Place the order")
    await keyboard.press("Enter")

    await tab.shows(re.compile("Order …"))
    assert (await until_state(person, order_id_of(tab), "SETTLED")).total == eur(900)


async def tab_to(tab: ConsoleTab, name: str, *, backwards: bool = False) -> None:
    """Press Tab until what has this name has the focus, which must be seen."""
    for _ in range(80):
        await tab.page.keyboard.press("Shift+Tab" if backwards else "Tab")
        *names, outline = await tab.page.evaluate(WHAT_HAS_THE_FOCUS)
        if any(text.strip().startswith(name) for text in names):
            assert outline != "none"
            return
    raise AssertionError(f"the keyboard doesn't reach {name!r}")


async def test_an_answer_that_gets_lost_is_asked_for_again_and_nothing_happens_twice(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    title = f"Table {new_id()}"
    await offer(shop, title, 2_000)
    tab, person = await open_tab(), await shop.person(funds_minor=5_000)
    keys: list[str] = []

    async def lose_the_first_answer(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            await route.fetch()
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await tab.sign_in(person.email)
    await tab.page.route("**/api/v1/orders", lose_the_first_answer)
    order_id = await buy_what_is_named(tab, title)

    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert [order.order_id for order in (await person.client.list_orders()).items] == [order_id]
    assert (await person.balance()).available == eur(3_000)


async def test_a_held_order_is_confirmed_and_another_one_cancelled(open_tab: OpenTab, shop: PublicShop) -> None:
    title = f"Rug {new_id()}"
    await offer(shop, title, 1_000)
    tab, person = await open_tab(), await shop.person(funds_minor=5_000)
    await tab.sign_in(person.email)

    for button, ends in (("Confirm", "Paid"), ("Cancel the order", "Cancelled")):
        await tab.go("/shop", "Shop")
        await tab.page.get_by_role("button", name=f"Add {title} to the cart").click()
        await tab.go("/cart", "Cart")
        await tab.page.get_by_label("When confirmed").check()
        await tab.page.get_by_role("button", name="Place the order").click()
        await tab.agree("Place the order")
        await tab.shows(re.compile("Order …"))
        await expect(tab.page.locator(".page-head .badge")).to_have_text("Money held")
        await tab.page.locator("#main").get_by_role("button", name=button, exact=True).click()
        await tab.agree("Confirm the order" if button == "Confirm" else "Cancel the order")
        await expect(tab.page.locator(".page-head .badge")).to_have_text(ends)

    await expect(tab.purse).to_contain_text("€40.00")
    await tab.assert_all_was_clean()


async def test_what_is_refused_is_said_where_it_is_wrong(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=100)
    await tab.open("/sign-in")
    await tab.page.get_by_label("E-mail address").fill(person.email)
    await tab.page.get_by_label("Password").fill("a wrong one")
    await tab.page.get_by_role("button", name="Sign in").click()

    password = tab.page.get_by_label("Password")
    await expect(password).to_be_focused()
    await expect(password).to_have_attribute("aria-invalid", "true")
    await expect(tab.page.get_by_text("The e-mail address or the password is wrong.").first).to_be_visible()

    await tab.sign_in(person.email)
    await tab.go("/wallet", "Wallet")
    await tab.page.get_by_text("Withdraw", exact=True).first.click()
    form = tab.page.get_by_role("form", name="Withdraw")
    await form.get_by_label("Amount").fill("2.00")
    await form.get_by_role("button", name="Withdraw").click()
    await tab.agree("Withdraw")
    await expect(form.get_by_text("There isn't enough money in the wallet that pays.")).to_be_visible()


async def test_what_sellers_write_stays_text(open_tab: OpenTab, shop: PublicShop) -> None:
    title = f"<img src=x onerror=alert(1)> {str(new_id())[-6:]}"
    await offer(shop, title, 100)
    tab, person = await open_tab(), await shop.person(funds_minor=100)

    await tab.sign_in(person.email)
    await expect(tab.page.get_by_role("heading", name=title)).to_be_visible()
    await buy_what_is_named(tab, title)

    await tab.assert_all_was_clean()


async def test_the_session_outlives_a_reload_is_read_by_no_script_and_ends_in_every_tab(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, person = await open_tab(), await shop.person(funds_minor=100)
    await tab.sign_in(person.email)
    await tab.go("/orders", "Orders")
    kept = await tab.page.evaluate("document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage)")
    await tab.page.reload()
    await tab.shows("Orders")
    other = ConsoleTab(page=await tab.page.context.new_page(), base_url=tab.base_url)
    await other.open("/wallet")
    await other.shows("Wallet")

    await tab.page.context.set_offline(offline=True)
    await tab.page.get_by_role("button", name="Sign out").click()
    await expect(tab.page.get_by_text("You are still signed in.")).to_be_visible()
    await tab.page.context.set_offline(offline=False)
    await tab.page.get_by_role("alert").get_by_role("button", name="Sign out").click()

    await tab.shows("Every cent has a journal entry.")
    await other.shows("Every cent has a journal entry.")
    cookie = await until(lambda: cookies_of(tab.page.context), lambda found: not found, "the end of the cookie")
    assert cookie == []
    assert "eyJ" not in kept
    assert "session" not in kept


async def test_a_merchant_sees_what_was_sent_to_a_webhook_until_it_is_removed(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, buyer, url = await open_tab(), await shop.person(funds_minor=5_000), "https://hooks.shop.example/tradeflow"
    seller = await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_250)
    await tab.sign_in(seller.email)
    await tab.go("/sales", "Sales")
    await tab.page.get_by_role("link", name="Webhooks").click()
    await tab.page.get_by_role("textbox", name="Address").fill(url)
    await tab.page.get_by_role("button", name="Add it").click()
    await expect(tab.page.get_by_text("Keep this secret now")).to_be_visible()

    await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")
    await tab.page.get_by_role("button", name="Deliveries").click()
    await expect(tab.page.get_by_text("order.settled")).to_be_visible()
    await tab.page.get_by_role("button", name="Remove").click()
    await tab.agree("Remove it")

    await expect(tab.page.get_by_text("Nobody is told yet")).to_be_visible()
    await tab.assert_all_was_clean()


async def test_who_signs_out_everywhere_is_signed_out_on_every_machine(open_tab: OpenTab, shop: PublicShop) -> None:
    here, elsewhere, person = await open_tab(), await open_tab(), await shop.person(funds_minor=100)
    for tab in (here, elsewhere):
        await tab.sign_in(person.email)

    await here.page.get_by_role("link", name="Account of").click()
    await here.shows("Account")
    await here.page.get_by_role("button", name="Sign out everywhere").click()
    await here.agree("Sign out everywhere")
    await here.shows("Every cent has a journal entry.")
    await elsewhere.page.reload()

    await elsewhere.shows("Every cent has a journal entry.")
    assert await cookies_of(here.page.context) == []


async def test_who_forgot_the_password_gets_a_new_one(
    open_tab: OpenTab, shop: PublicShop, running: PlatformProcess
) -> None:
    tab, person, new_password = await open_tab(), await shop.person(funds_minor=100), "another-long-one"
    await tab.open("/sign-in")
    await tab.page.get_by_role("link", name="Forgot your password?").click()
    await tab.page.get_by_label("E-mail address").fill(person.email)
    await tab.page.get_by_role("button", name="Send me a link").click()
    await expect(tab.page.get_by_text("works once, for 30 minutes")).to_be_visible()

    token = await asyncio.to_thread(printed_token, person.email, running)
    await set_password(tab, token, new_password)
    await expect(tab.page.get_by_role("button", name="Sign in")).to_be_visible()
    await set_password(tab, token, "a-third-long-one")
    await expect(tab.page.get_by_text("This link was used already")).to_be_visible()

    await tab.sign_in(person.email, new_password)


async def set_password(tab: ConsoleTab, token: str, password: str) -> None:
    await tab.open(f"/new-password/{token}")
    await tab.page.get_by_role("textbox", name="New password").fill(password)
    await tab.page.get_by_role("button", name="Set the password").click()


def printed_token(email: str, running: PlatformProcess) -> str:
    """Ask for a token as an operator does for whom no mail is sent."""
    ended = run_command("user", "reset-password", email, "--data", str(running.data))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


async def test_a_chosen_theme_is_kept(open_tab: OpenTab) -> None:
    tab = await open_tab(theme="light")
    await tab.open("/sign-in")
    ground = "getComputedStyle(document.body).backgroundColor"
    before = await tab.page.evaluate(ground)
    await tab.page.get_by_role("button", name="Switch between light and dark").click()
    chosen = await tab.page.evaluate(ground)

    await tab.page.reload()

    assert chosen != before
    assert await tab.page.evaluate(ground) == chosen
    await tab.assert_all_was_clean()


async def cookies_of(context: BrowserContext) -> list[str]:
    return [str(cookie.get("name")) for cookie in await context.cookies()]

"""The cart: what somebody chose stays chosen while pieces, prices and other tabs change it."""

import re

import pytest
from playwright.async_api import Locator, Route, expect

from services.money import Money
from services.runtime.ids import new_id
from tests.support.console_tab import ConsoleTab, OpenTab
from tests.support.public_shop import Person, PublicShop, eur

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]


APART_PIXELS_MIN = 12
"""Between two cards."""

UNKNOWN_FIELD = {
    "type": "urn:tradeflow:problem:validation_failed",
    "title": "Validation failed",
    "status": 400,
    "detail": "Object contains unknown field `expected_total`",
    "reason": "validation_failed",
}
"""What services answer that don't know the field: `tests/flow/test_orders_doors.py` holds them to these words."""


async def a_product(shop: PublicShop, title: str) -> tuple[Person, str]:
    seller = await shop.person("merchant")
    sku = f"sku-{new_id()}"
    await seller.client.create_product(sku, title, eur(1_000), 10)
    return seller, sku


async def put_into_the_cart(tab: ConsoleTab, title: str) -> None:
    await tab.go("/shop", "Shop")
    await tab.page.get_by_role("button", name=f"Add {title} to the cart").click()
    await tab.go("/cart", "Cart")


def total(tab: ConsoleTab) -> Locator:
    return tab.page.locator(".total .money")


async def test_when_the_money_moves_stays_chosen_while_pieces_change_by_the_keyboard(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    title = f"Cup {new_id()}"
    await a_product(shop, title)
    tab, person = await open_tab(), await shop.person(funds_minor=5_000)
    await tab.sign_in(person.email)
    await put_into_the_cart(tab, title)

    await tab.page.get_by_label("When confirmed").check()
    more = tab.page.get_by_role("button", name=f"More: pieces of {title}")
    await more.focus()
    for pieces in (2, 3):
        await tab.page.keyboard.press("Enter")
        await expect(total(tab)).to_have_text(f"€{pieces}0.00")
        await expect(more).to_be_focused()
    await expect(tab.page.get_by_label("When confirmed")).to_be_checked()

    await tab.page.get_by_role("button", name="Remove").click()
    await expect(tab.page.get_by_role("heading", name="Your cart is empty")).to_be_visible()
    await expect(tab.page.get_by_role("heading", level=1)).to_be_focused()


async def test_baskets_of_two_currencies_stand_apart(open_tab: OpenTab, shop: PublicShop) -> None:
    title, seller = f"Cup {new_id()}", await shop.person("merchant")
    for currency in ("EUR", "JPY"):
        await seller.client.create_product(f"sku-{new_id()}", f"{title} {currency}", Money(1_000, currency), 10)
    tab, person = await open_tab(viewport="phone"), await shop.person()
    await tab.sign_in(person.email)
    for currency in ("EUR", "JPY"):
        await put_into_the_cart(tab, f"{title} {currency}")

    first, second = [await tab.page.get_by_label(f"Basket in {code}").bounding_box() for code in ("EUR", "JPY")]

    assert first is not None
    assert second is not None
    assert second["y"] - (first["y"] + first["height"]) >= APART_PIXELS_MIN


async def test_nobody_pays_another_price_than_the_one_that_was_agreed_to(open_tab: OpenTab, shop: PublicShop) -> None:
    title = f"Pan {new_id()}"
    seller, sku = await a_product(shop, title)
    tab, person = await open_tab(), await shop.person(funds_minor=50_000)
    await tab.sign_in(person.email)
    await put_into_the_cart(tab, title)
    await seller.client.patch_product(sku, price=eur(30_000))

    await tab.page.get_by_role("button", name="Place the order").click()
    await expect(tab.page.get_by_text("Prices have changed")).to_be_visible()
    await expect(total(tab)).to_have_text("€300.00")
    assert (await person.client.list_orders()).items == []

    await tab.page.get_by_role("button", name="Place the order").click()
    await expect(tab.page.get_by_role("heading", name="Pay €300.00?")).to_be_visible()
    await tab.agree("Place the order")
    await tab.shows(re.compile("Order …"))


async def test_a_price_that_changes_while_its_buyer_agrees_orders_nothing_and_is_shown(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    title = f"Pot {new_id()}"
    seller, sku = await a_product(shop, title)
    tab, person = await open_tab(), await shop.person(funds_minor=50_000)
    await tab.sign_in(person.email)
    await put_into_the_cart(tab, title)

    await tab.page.get_by_role("button", name="Place the order").click()
    await expect(tab.page.get_by_role("heading", name="Pay €10.00?")).to_be_visible()
    await seller.client.patch_product(sku, price=eur(30_000))
    await tab.agree("Place the order")

    await expect(tab.page.get_by_text("Prices have changed just now, and nothing was ordered.")).to_be_visible()
    await expect(total(tab)).to_have_text("€300.00")
    assert (await person.client.list_orders()).items == []
    assert (await person.balance()).available == eur(50_000)

    await tab.page.get_by_role("button", name="Place the order").click()
    await expect(tab.page.get_by_role("heading", name="Pay €300.00?")).to_be_visible()
    await tab.agree("Place the order")
    await tab.shows(re.compile("Order …"))


async def test_orders_of_an_older_release_are_asked_without_the_total_by_the_same_key(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    title = f"Jug {new_id()}"
    await a_product(shop, title)
    tab, person = await open_tab(), await shop.person(funds_minor=5_000)
    sent: list[tuple[str, object]] = []

    async def answer_as_before(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        body = route.request.post_data_json or {}
        sent.append((route.request.headers["idempotency-key"], body.get("expected_total")))
        if "expected_total" in body:
            await route.fulfill(status=400, content_type="application/problem+json", json=UNKNOWN_FIELD)
        else:
            await route.continue_()

    await tab.sign_in(person.email)
    await tab.page.route("**/api/v1/orders", answer_as_before)
    await put_into_the_cart(tab, title)
    await tab.page.get_by_role("button", name="Place the order").click()
    await tab.agree("Place the order")
    await tab.shows(re.compile("Order …"))

    (key, first_total), (same_key, second_total) = sent
    assert key == same_key
    assert (first_total, second_total) == ({"amount_minor": 1_000, "currency": "EUR"}, None)
    assert [order.total for order in (await person.client.list_orders()).items] == [eur(1_000)]


async def test_an_order_that_was_never_answered_is_not_placed_again_at_a_new_price(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    title = f"Lid {new_id()}"
    seller, sku = await a_product(shop, title)
    tab, person = await open_tab(), await shop.person(funds_minor=50_000)
    await tab.sign_in(person.email)
    await put_into_the_cart(tab, title)

    async def lose_each_answer(route: Route) -> None:
        if route.request.method == "POST":
            await route.fetch()
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await tab.page.route("**/api/v1/orders", lose_each_answer)
    await tab.page.get_by_role("button", name="Place the order").click()
    await tab.agree("Place the order")
    await expect(tab.page.get_by_text("There is no connection to the platform.")).to_be_visible(timeout=60_000)
    await tab.page.unroute("**/api/v1/orders")
    await seller.client.patch_product(sku, price=eur(30_000))

    await tab.page.get_by_role("button", name="Place the order").click()
    await expect(tab.page.get_by_text("Prices have changed")).to_be_visible()
    await tab.page.get_by_role("button", name="Place the order").click()
    await tab.agree("Place the order")

    await expect(tab.page.get_by_text("This was sent before with other content.")).to_be_visible()
    assert [order.total for order in (await person.client.list_orders()).items] == [eur(1_000)]


async def test_what_another_tab_puts_in_is_ordered_or_stays(open_tab: OpenTab, shop: PublicShop) -> None:
    titles = [f"{thing} {new_id()}" for thing in ("Bed", "Box", "Bin")]
    for title in titles:
        await a_product(shop, title)
    tab, person = await open_tab(), await shop.person(funds_minor=5_000)
    await tab.sign_in(person.email)
    await put_into_the_cart(tab, titles[0])
    other = ConsoleTab(page=await tab.page.context.new_page(), base_url=tab.base_url)
    await other.open("/shop")
    await other.shows("Shop")

    await put_into_the_cart(other, titles[1])
    await expect(total(tab)).to_have_text("€20.00")
    await tab.page.get_by_role("button", name="Place the order").click()
    await expect(tab.page.get_by_role("heading", name="Pay €20.00?")).to_be_visible()
    await put_into_the_cart(other, titles[2])
    await tab.agree("Place the order")
    await tab.shows(re.compile("Order …"))

    (order,) = (await person.client.list_orders()).items
    assert sorted(line.title for line in order.lines) == sorted(titles[:2])
    await expect(other.page.locator(".cart-line .list-title")).to_have_text([titles[2]])

"""A merchant's own products: what is changed in the form, and nothing that happened meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Locator, Route, expect

from services.runtime.ids import new_id
from tests.support.console_tab import ConsoleTab, OpenTab
from tests.support.public_shop import Person, PublicShop, eur

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]

UNKNOWN_FIELD = {
    "type": "urn:tradeflow:problem:validation_failed",
    "title": "Validation failed",
    "status": 400,
    "detail": "Object contains unknown field `expected_stock`",
    "reason": "validation_failed",
}
"""What services answer that don't know the field: `tests/flow/test_orders_doors.py` holds them to these words."""


async def a_product_in_its_form(open_tab: OpenTab, shop: PublicShop) -> tuple[ConsoleTab, Person, str]:
    """Offer 9 pieces at €10.00, and open the form that changes them."""
    seller = await shop.person("merchant")
    sku = f"sku-{new_id()}"
    await seller.client.create_product(sku, "Cup", eur(1_000), 9)
    tab = await open_tab()
    await tab.sign_in(seller.email)
    await tab.go("/products", "Products")
    await tab.page.get_by_role("button", name="Change Cup").click()
    return tab, seller, sku


async def sell(shop: PublicShop, sku: str, pieces: int) -> None:
    buyer = await shop.person(funds_minor=50_000)
    await buyer.client.place_order({sku: pieces})


def change_form(tab: ConsoleTab) -> Locator:
    return tab.page.get_by_role("form", name="Change Cup")


async def save(tab: ConsoleTab, label: str, value: str) -> None:
    await change_form(tab).get_by_label(label).fill(value)
    await change_form(tab).get_by_role("button", name="Save").click()


async def test_who_changes_a_price_keeps_the_pieces_sold_that_were_sold_meanwhile(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, seller, sku = await a_product_in_its_form(open_tab, shop)
    await sell(shop, sku, 4)

    await save(tab, "Price in EUR", "12.00")
    await expect(change_form(tab)).to_have_count(0)

    product = await seller.client.get_product(sku)
    assert (product.price, product.stock) == (eur(1_200), 5)


async def test_who_changes_a_stock_keeps_a_price_that_changed_meanwhile(open_tab: OpenTab, shop: PublicShop) -> None:
    tab, seller, sku = await a_product_in_its_form(open_tab, shop)
    await seller.client.patch_product(sku, price=eur(3_000))

    await save(tab, "Pieces in stock", "20")
    await expect(change_form(tab)).to_have_count(0)

    product = await seller.client.get_product(sku)
    assert (product.price, product.stock) == (eur(3_000), 20)


async def test_a_stock_that_changed_meanwhile_is_told_and_replaced_only_by_who_knows_it(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, seller, sku = await a_product_in_its_form(open_tab, shop)
    await sell(shop, sku, 4)

    await save(tab, "Pieces in stock", "19")
    await expect(change_form(tab).get_by_text("The stock went from 9 to 5 meanwhile")).to_be_visible()
    assert (await seller.client.get_product(sku)).stock == 5

    await save(tab, "Pieces in stock", "15")
    await expect(change_form(tab)).to_have_count(0)
    assert (await seller.client.get_product(sku)).stock == 15


async def test_orders_of_an_older_release_are_asked_without_the_stock_that_was_shown(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    tab, seller, sku = await a_product_in_its_form(open_tab, shop)
    sent: list[Any] = []
    await tab.page.route("**/api/v1/products/*", as_before(sent))

    await save(tab, "Pieces in stock", "20")
    await expect(change_form(tab)).to_have_count(0)

    assert sent == [{"stock": 20, "expected_stock": 9}, {"stock": 20}]
    assert (await seller.client.get_product(sku)).stock == 20


def as_before(sent: list[Any]) -> Callable[[Route], Awaitable[None]]:
    """Answer as orders did before it knew the field, and keep what is sent."""

    async def answer(route: Route) -> None:
        body = route.request.post_data_json or {}
        sent.append(body)
        if "expected_stock" in body:
            await route.fulfill(status=400, content_type="application/problem+json", json=UNKNOWN_FIELD)
        else:
            await route.continue_()

    return answer

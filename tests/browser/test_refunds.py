"""What sellers give back of an order, amount by amount."""

import re

import pytest
from playwright.async_api import expect

from tests.support.console_tab import OpenTab
from tests.support.public_shop import PublicShop, eur, until_state

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]


async def test_amounts_are_given_back_until_nothing_is_left_and_each_is_listed(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    seller, buyer = await shop.person("merchant"), await shop.person(funds_minor=5_000)
    sku = await shop.product(seller, price_minor=2_000)
    order = await until_state(buyer, await buyer.client.place_order({sku: 1}), "SETTLED")
    tab = await open_tab()
    await tab.sign_in(seller.email)
    await tab.go(f"/orders/{order.order_id}", re.compile("Order …"))
    form, listed = (
        tab.page.get_by_role("form", name="Refund an amount"),
        tab.page.get_by_role("list", name="Given back"),
    )
    amount = form.get_by_label("Amount in EUR")

    await amount.fill("20.01")
    await form.get_by_role("button").click()
    await expect(form.get_by_text("At most €20.00 can still go back.")).to_be_visible()
    await expect(amount).to_be_focused()
    for typed, left in (("2.50", "€17.50"), ("0.01", "€17.49")):
        await amount.fill(typed)
        await form.get_by_role("button").click()
        await expect(tab.page.get_by_role("dialog")).to_contain_text(f"After that, {left} can still go back.")
        await tab.agree("Refund")
        await expect(tab.page.get_by_text(re.compile("Can still go back")).locator("..")).to_contain_text(left)
    await expect(tab.page.get_by_role("heading", level=1)).to_be_focused()
    await expect(listed.get_by_role("listitem")).to_contain_text(["An amount by you", "An amount by you"])
    await expect(listed.locator(".money")).to_have_text(["€0.01", "€2.50"])
    await tab.page.get_by_label("Thing: pieces to refund").fill("1")
    await tab.page.get_by_role("button", name="Refund pieces").click()
    await expect(tab.page.get_by_role("dialog")).to_contain_text("Refund €17.49?")
    await tab.agree("Refund")

    await expect(tab.page.locator(".page-head .badge")).to_have_text("Refunded")
    await expect(form).to_have_count(0)
    await expect(listed.locator(".money")).to_have_text(["€17.49", "€0.01", "€2.50"])
    assert (await buyer.balance()).available == eur(5_000)
    await tab.assert_all_was_clean()


async def test_what_is_typed_stays_while_the_order_moves_and_the_page_follows_later(
    open_tab: OpenTab, shop: PublicShop
) -> None:
    seller, buyer = await shop.person("merchant"), await shop.person(funds_minor=5_000)
    skus = [await shop.product(seller), await shop.product(seller)]
    order = await until_state(buyer, await buyer.client.place_order(dict.fromkeys(skus, 2)), "SETTLED")
    tab = await open_tab()
    await tab.sign_in(seller.email)
    await tab.go(f"/orders/{order.order_id}", re.compile("Order …"))
    await expect(tab.page.locator(".purse .pulse.live")).to_be_visible()
    first, second = (tab.page.get_by_label("Thing: pieces to refund").nth(number) for number in (0, 1))

    await first.fill("2")
    await second.focus()
    async with tab.page.expect_response(re.compile(f"{order.order_id}/refunds")):
        await shop.operator.refund(order.order_id, amount=eur(50))
    await tab.page.evaluate("new Promise((drawn) => setTimeout(() => requestAnimationFrame(drawn)))")
    await expect(first).to_have_value("2")
    await first.fill("0")

    await expect(tab.page.locator(".page-head .badge")).to_have_text("Partly refunded")

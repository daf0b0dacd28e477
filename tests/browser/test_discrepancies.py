"""What operators see of orders that disagree with the ledger: live, with both sides, until all agree again."""

import asyncio
import re
from pathlib import Path
from uuid import UUID

import pytest
from playwright.async_api import expect

from services.embedded.data_folder import OPERATOR_EMAIL
from services.orders.domain.discrepancy import DiscrepancyKind
from services.orders.domain.hold import HoldState
from tests.support.console_tab import ConsoleTab, OpenTab
from tests.support.damaged_orders import change_order
from tests.support.platform import run_command
from tests.support.public_shop import PublicShop, until_state

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]

SOME_DISAGREE = 1
"""What `tradeflow reconcile` ends with where something is left."""


async def settled_orders(shop: PublicShop, count: int) -> list[UUID]:
    buyer, seller = await shop.person(funds_minor=50_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_250)
    placed = [await buyer.client.place_order({sku: 1}) for _ in range(count)]
    return [(await until_state(buyer, order, "SETTLED")).order_id for order in placed]


async def damage(shop: PublicShop, order_id: UUID, assignments: str, *, left: int) -> None:
    """Change an order in its database, and let all orders be compared."""
    change_order(shop.folder.orders_database, order_id, assignments)
    ended = await asyncio.to_thread(run_command, "reconcile", "--heal", "--data", str(shop.folder.path))
    assert ended.returncode == left, ended.stdout + ended.stderr


async def operations_of(shop: PublicShop, tab: ConsoleTab) -> ConsoleTab:
    await tab.sign_in(OPERATOR_EMAIL, shop.folder.secrets().operator_password, heading="Operations")
    return tab


async def test_orders_that_disagree_are_told_live_with_both_sides_until_all_agree(
    open_tab: OpenTab, shop: PublicShop, screenshots: Path
) -> None:
    first, second = await settled_orders(shop, 2)
    tab = await operations_of(shop, await open_tab())
    phone = await operations_of(shop, await open_tab(theme="dark", viewport="phone"))
    card = tab.page.locator("section", has=tab.page.get_by_role("heading", name="Orders against the ledger"))
    found = card.get_by_role("list", name="Orders that disagree with the ledger").locator("> li")
    await expect(card).to_contain_text(re.compile("No order has ever disagreed|Nothing was found so far"))

    await damage(shop, first, "captured_minor = 999", left=SOME_DISAGREE)
    await expect(card.get_by_role("status")).to_have_text("One order disagrees with the ledger.")
    await expect(found).to_contain_text(["Other amount paid"])
    await expect(found).to_contain_text(["€9.99 paid, €0.00 given back"])
    await expect(found).to_contain_text(["€12.50 paid, €0.00 given back, €0.00 still held"])
    await expect(found).to_contain_text(["What to do: The ledger is right about money"])
    link = found.get_by_role("link").first
    await link.focus()
    await damage(shop, second, "state = 'CANCELLED', captured_minor = 0", left=SOME_DISAGREE)
    await expect(card.get_by_role("status")).to_have_text("2 orders disagree with the ledger.")
    await expect(link).to_be_focused()

    for one, name in ((tab, "desktop-light"), (phone, "phone-dark")):
        await expect(one.page.locator(".findings > li")).to_have_count(2)
        await one.keep_picture(screenshots / f"discrepancies-{name}.png")
        await one.assert_fits_its_width()
        await one.assert_nothing_grave_for_anybody()
        await one.assert_all_was_clean()

    await link.click()
    await tab.shows(re.compile("Order …"))
    await damage(shop, first, "captured_minor = 1250", left=SOME_DISAGREE)
    await damage(shop, second, "state = 'SETTLED', captured_minor = 1250", left=0)
    await tab.go("/operations", "Operations")
    await expect(card.get_by_role("status")).to_contain_text("All orders agree with the ledger since")
    await expect(found).to_have_count(0)


async def test_every_kind_has_words_and_every_state_of_a_hold(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await tab.open("/sign-in")
    await tab.shows("Every cent has a journal entry.")

    base = str(await tab.page.evaluate("document.querySelector('script[type=module]').src"))
    kinds, states = await tab.page.evaluate(
        "async (address) => { const it = await import(address); return [it.DISCREPANCIES, it.HOLD_STATES]; }",
        base.replace("main.js", "words.js"),
    )

    assert set(kinds) == {kind.value for kind in DiscrepancyKind}
    assert all(words["label"] and words["what"] and words["next"] for words in kinds.values())
    assert set(states) == {state.value for state in HoldState if state is not HoldState.TOMBSTONE}

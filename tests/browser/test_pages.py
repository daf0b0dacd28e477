"""Every page: for everybody (axe), on each screen, in both themes, by the content security policy; with its picture."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.embedded.data_folder import OPERATOR_EMAIL, TREASURY_EMAIL
from tests.support.console_tab import ConsoleTab, OpenTab, Theme
from tests.support.public_shop import PublicShop, eur, until_state

pytestmark = [pytest.mark.part("chromium"), pytest.mark.timeout(600)]

LOOKS: list[tuple[str, Theme]] = [
    ("phone", "light"),
    ("phone", "dark"),
    ("tablet", "light"),
    ("desktop", "light"),
    ("desktop", "dark"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a tab looks at pages, and where their pictures go."""

    tab: ConsoleTab
    name: str
    folder: Path

    async def at(self, page: str) -> None:
        """Hold the page that is shown against everything that holds for all pages, and keep its picture."""
        await self.tab.keep_picture(self.folder / f"{page}-{self.name}.png")
        await self.tab.assert_fits_its_width()
        await self.tab.assert_nothing_grave_for_anybody()
        await self.tab.assert_all_was_clean()


@pytest.fixture
async def look(request: pytest.FixtureRequest, open_tab: OpenTab, screenshots: Path) -> Look:
    viewport, theme = request.param
    tab = await open_tab(theme=theme, viewport=viewport)
    return Look(tab=tab, name=f"{viewport}-{theme}", folder=screenshots)


in_all_looks = pytest.mark.parametrize("look", LOOKS, indirect=True, ids=["-".join(one) for one in LOOKS])


@in_all_looks
async def test_pages_of_who_is_not_signed_in(look: Look) -> None:
    tab = look.tab
    await tab.open("/sign-in")
    await tab.shows("Every cent has a journal entry.")
    await tab.page.get_by_role("button", name="Sign in").click()
    await look.at("sign-in")

    await tab.page.get_by_role("link", name="Register").click()
    await tab.page.get_by_label("I sell").check()
    await look.at("register")

    await tab.go("/forgotten", "Every cent has a journal entry.")
    await tab.page.get_by_role("button", name="Send me a link").click()
    await look.at("forgotten")
    await tab.open("/new-password/a-token")
    await tab.page.get_by_role("button", name="Set the password").click()
    await look.at("new-password")


@in_all_looks
async def test_pages_of_a_buyer(look: Look, shop: PublicShop) -> None:
    tab, buyer, seller = look.tab, await shop.person(funds_minor=25_000), await shop.person("merchant")
    bread, bowl = await shop.product(seller, price_minor=450, stock=3), await shop.product(seller, price_minor=2_800)
    order = await until_state(buyer, await buyer.client.place_order({bread: 2, bowl: 1}), "SETTLED")

    await tab.sign_in(buyer.email)
    await look.at("shop")
    await tab.page.get_by_role("button", name="Add Thing to the cart").first.click()
    await tab.page.get_by_role("button", name="Add Thing to the cart").last.click()
    await tab.go("/cart", "Cart")
    await look.at("cart")
    await tab.go("/orders", "Orders")
    await look.at("orders")
    await tab.go(f"/orders/{order.order_id}", re.compile("Order …"))
    await look.at("order")
    await tab.go("/wallet", "Wallet")
    await tab.page.locator(".entry summary").first.click()
    await tab.page.get_by_text("Chained by its hash").wait_for()
    await look.at("wallet")
    await tab.go("/account", "Account")
    await look.at("account")
    await tab.go("/nowhere", "There is nothing here")
    await look.at("nowhere")


@in_all_looks
async def test_pages_of_a_merchant(look: Look, shop: PublicShop) -> None:
    tab, buyer, seller = look.tab, await shop.person(funds_minor=25_000), await shop.person("merchant")
    sku = await shop.product(seller, price_minor=1_250, stock=9)
    order = await until_state(buyer, await buyer.client.place_order({sku: 2}), "SETTLED")
    for minor in (320, 1_250):
        await seller.client.refund(order.order_id, amount=eur(minor))

    await tab.sign_in(seller.email)
    await tab.go("/products", "Products")
    await tab.page.get_by_role("button", name="Change Thing").click()
    await look.at("products")
    await tab.go("/sales", "Sales")
    await look.at("sales")
    await tab.go(f"/orders/{order.order_id}", re.compile("Order …"))
    await look.at("sale")
    await tab.go("/webhooks", "Webhooks")
    await tab.page.get_by_role("textbox", name="Address").fill(
        "https://hooks.shop.example/tradeflow?what=orders-of-this-shop"
    )
    await tab.page.get_by_role("button", name="Add it").click()
    await tab.page.get_by_text("Keep this secret now").wait_for()
    await tab.page.get_by_role("button", name="Deliveries").click()
    await tab.page.get_by_text("Nothing was sent yet").wait_for()
    await look.at("webhooks")


@in_all_looks
async def test_pages_of_somebody_new(look: Look, shop: PublicShop) -> None:
    tab, newcomer = look.tab, await shop.person("merchant")

    await tab.sign_in(newcomer.email)
    for path, heading in (("/cart", "Cart"), ("/orders", "Orders"), ("/sales", "Sales"), ("/products", "Products")):
        await tab.go(path, heading)
        await tab.assert_fits_its_width()
        await tab.assert_nothing_grave_for_anybody()
    await tab.go("/wallet", "Wallet")
    await look.at("wallet-empty")


@in_all_looks
async def test_pages_of_the_treasury_and_of_operators(look: Look, shop: PublicShop) -> None:
    tab, buyer, secrets = look.tab, await shop.person(), shop.folder.secrets()

    await tab.sign_in(TREASURY_EMAIL, secrets.treasury_password, heading="Treasury")
    await tab.page.get_by_label("Whose wallet").fill(buyer.email)
    await tab.page.get_by_label("Amount").fill("120,50")
    await tab.page.get_by_role("button", name="Deposit").click()
    await look.at("deposit-question")
    await tab.agree("Deposit")
    await tab.page.get_by_text(re.compile("journal entry [0-9]+")).wait_for()
    await look.at("treasury")
    assert (await buyer.balance()).available == eur(12_050)

    await tab.page.get_by_role("button", name="Sign out").click()
    await tab.sign_in(OPERATOR_EMAIL, secrets.operator_password, heading="Operations")
    await tab.page.get_by_role("img", name=re.compile("Throughput: requests [0-9]")).wait_for()
    await tab.page.locator(".chart-line[d*=L]").first.wait_for(state="attached")  # a line needs two points
    await look.at("operations")

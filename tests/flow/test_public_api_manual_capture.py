"""Manual capture from outside: reserved first, then confirmed, cancelled or left to expire."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.embedded.public_api import Order
from services.runtime.errors import RefusedError
from tests.support.any_platform import AnyPlatform, RunPlatform
from tests.support.public_shop import Person, PublicShop, eur, public_shop, until, until_state


@pytest.fixture(scope="module")
def platform(run_platform: RunPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyPlatform]:
    """One platform of each kind for all tests of the module."""
    data: Path = tmp_path_factory.mktemp("platform") / "data"
    with run_platform(data) as platform:
        yield platform


@pytest.fixture
async def shop(platform: AnyPlatform) -> AsyncIterator[PublicShop]:
    async with public_shop(platform.gateway_url, platform.data) as shop:
        yield shop


async def a_reserved_order(shop: PublicShop, buyer: Person, seller: Person) -> tuple[Order, str]:
    sku = await shop.product(seller, price_minor=1_000, stock=5)
    return await buyer.client.place_order({sku: 2}, capture="manual"), sku


async def held_and_available(person: Person) -> tuple[int, int]:
    balance = await person.balance()
    return balance.pending_outgoing.amount_minor, balance.available.amount_minor


async def test_a_reserved_order_holds_the_money_and_pays_nobody(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")

    order, sku = await a_reserved_order(shop, buyer, seller)

    assert order.state == "RESERVED"
    assert await held_and_available(buyer) == (2_000, 3_000)
    assert (await seller.balance()).posted == eur(0)
    assert (await shop.operator.get_product(sku)).stock == 3


@pytest.mark.parametrize("by", ["buyer", "seller"])
async def test_a_confirmed_order_settles(shop: PublicShop, by: str) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    order, _ = await a_reserved_order(shop, buyer, seller)

    confirmed = await {"buyer": buyer, "seller": seller}[by].client.confirm(order.order_id)

    assert confirmed.state in {"CONFIRMED", "SETTLED"}
    settled = await until_state(buyer, order, "SETTLED")
    assert settled.captured == eur(2_000)
    assert await held_and_available(buyer) == (0, 3_000)


async def test_a_cancelled_order_frees_money_and_stock(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    order, sku = await a_reserved_order(shop, buyer, seller)

    cancelled = await buyer.client.cancel(order.order_id, idempotency_key="cancel")
    again = await buyer.client.cancel(order.order_id, idempotency_key="cancel")

    assert (cancelled.state, again.state) == ("CANCELLED", "CANCELLED")
    assert await held_and_available(buyer) == (0, 5_000)
    assert (await shop.operator.get_product(sku)).stock == 5


async def test_a_cancelled_order_can_not_be_confirmed(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    order, _ = await a_reserved_order(shop, buyer, seller)
    await buyer.client.cancel(order.order_id)

    with pytest.raises(RefusedError) as refused:
        await buyer.client.confirm(order.order_id)

    assert refused.value.reason == "illegal_transition"


async def test_cancelling_after_the_capture_refunds_all_of_it(shop: PublicShop) -> None:
    buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
    order, _ = await a_reserved_order(shop, buyer, seller)
    await buyer.client.confirm(order.order_id)
    await until_state(buyer, order, "SETTLED")

    await buyer.client.cancel(order.order_id)

    refunded = await until_state(buyer, order, "REFUNDED")
    assert (refunded.captured, refunded.refunded) == (eur(2_000), eur(2_000))
    assert await held_and_available(buyer) == (0, 5_000)
    assert (await seller.balance()).posted == eur(0)


async def test_an_order_that_nobody_confirms_expires_and_frees_money_and_stock(
    run_platform: RunPlatform, tmp_path: Path
) -> None:
    lifetime = {"TRADEFLOW_ORDERS_ORDER_LIFETIME_SECONDS": "1"}
    with run_platform(tmp_path / "data", lifetime) as platform:
        async with public_shop(platform.gateway_url, platform.data) as shop:
            buyer, seller = await shop.person(funds_minor=5_000), await shop.person("merchant")
            order, sku = await a_reserved_order(shop, buyer, seller)

            await until_state(buyer, order, "EXPIRED")

            await until(lambda: held_and_available(buyer), lambda seen: seen == (0, 5_000), "the money")
            assert (await shop.operator.get_product(sku)).stock == 5
        await platform.assert_invariants_hold()


async def test_nothing_of_all_this_violated_an_invariant(platform: AnyPlatform) -> None:
    await platform.assert_invariants_hold()

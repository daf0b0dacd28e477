"""People of another issuer on the whole platform: they sell, pay and buy as everybody does, by the gateway's tokens."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.embedded.client import TradeFlowClient
from services.embedded.data_folder import TREASURY_EMAIL
from services.runtime.errors import ForbiddenError, UnauthenticatedError
from tests.support.external_issuer import OpenIdProvider, serving_openid_provider
from tests.support.platform import assert_invariants_hold, platform_here
from tests.support.public_shop import PASSWORD, Person, PublicShop, eur, public_shop, until_state


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A platform that trusts a provider."""

    provider: OpenIdProvider
    shop: PublicShop
    data: Path

    async def comes(self, subject: str, *groups: str) -> TradeFlowClient:
        """Sign somebody in with an ID token."""
        client = self.shop.root.another()
        await client.exchange(self.provider.id_token(subject, groups=list(groups)))
        return client


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    data = tmp_path / "data"
    async with serving_openid_provider() as provider:
        setting = provider.setting(roles_claim="groups", roles={"sellers": "merchant", "tills": "treasury"})
        monkeypatch.setenv("TRADEFLOW_GATEWAY_EXTERNAL_ISSUERS", json.dumps([setting]))
        async with platform_here(data) as platform, public_shop(platform.gateway_url, data) as shop:
            yield World(provider=provider, shop=shop, data=data)


async def test_people_of_another_issuer_sell_pay_and_buy(world: World) -> None:
    seller, till, buyer = (
        await world.comes("sam", "sellers"),
        await world.comes("tina", "tills"),
        await world.comes("ann", "chess"),
    )
    await seller.create_product("thing", "Thing", eur(700), 3)
    await till.deposit("ann@example.org", eur(1_000))
    with pytest.raises(ForbiddenError):
        await buyer.deposit("ann@example.org", eur(1_000))

    order = await buyer.place_order({"thing": 1})
    again = await world.comes("ann")
    settled = await until_state(Person(email="ann@example.org", user_id=order.order_id, client=again), order, "SETTLED")

    assert settled.order_id == order.order_id
    assert (await again.balance("EUR")).available == eur(300)
    await assert_invariants_hold(world.data)


async def test_who_had_the_address_before_is_out_and_its_owner_in(world: World) -> None:
    squatter = world.shop.root.another()
    await squatter.register("ann@example.org", PASSWORD)
    await squatter.login("ann@example.org", PASSWORD)
    await squatter.balance("EUR")

    owner = await world.comes("ann")

    with pytest.raises(UnauthenticatedError):
        await squatter.balance("EUR")
    with pytest.raises(UnauthenticatedError):
        await squatter.login("ann@example.org", PASSWORD)
    assert (await owner.balance("EUR")).available == eur(0)


async def test_nobody_becomes_the_treasury_by_its_address(world: World) -> None:
    id_token = world.provider.id_token("eve", email=TREASURY_EMAIL, groups=["tills"])

    with pytest.raises(ForbiddenError) as refused:
        await world.shop.root.another().exchange(id_token)

    assert refused.value.reason == "account_not_linkable"
    await world.shop.treasury.login(TREASURY_EMAIL, world.shop.folder.secrets().treasury_password)

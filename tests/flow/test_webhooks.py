"""Webhooks as a merchant sees them: registered by REST, signed, repeated after a kill, dead ones redriven."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.http_upstream import Received
from tests.support.platform import PlatformProcess, platform_process, run_command
from tests.support.public_shop import Person, PublicShop, public_shop, until, until_state
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

SETTINGS = {
    "TRADEFLOW_ORDERS_WEBHOOK_PLAIN_HTTP_ALLOWED": "true",
    "TRADEFLOW_ORDERS_WEBHOOK_PRIVATE_ADDRESSES_ALLOWED": "true",
    "TRADEFLOW_ORDERS_WEBHOOK_ATTEMPTS_MAX": "2",
}
"""The receiver listens on this machine; two attempts, so that one pause of a few seconds is all to wait for."""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[PlatformProcess]:
    with platform_process(tmp_path / "data", SETTINGS) as process:
        yield process


@pytest.fixture
async def shop(process: PlatformProcess) -> AsyncIterator[PublicShop]:
    async with public_shop(process.gateway_url, process.data) as shop:
        yield shop


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with webhook_receiver() as receiver:
        yield receiver


async def call(person: Person, method: str, path: str, body: object = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=person.client.base_url, trust_env=False, timeout=20) as http:
        headers = {"Authorization": f"Bearer {person.client.access_token}"}
        return await http.request(method, f"/api/v1/webhooks{path}", json=body, headers=headers)


async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tradeflow` beside this test's receiver, which answers meanwhile."""
    return await asyncio.to_thread(run_command, *arguments)


async def listen(merchant: Person, receiver: WebhookReceiver) -> dict[str, Any]:
    registered = await call(merchant, "POST", "", {"url": receiver.url})
    assert registered.status_code == 201, registered.text
    endpoint: dict[str, Any] = registered.json()
    return endpoint


async def until_received(receiver: WebhookReceiver, count: int) -> list[Received]:
    async def look() -> list[Received]:
        return receiver.received

    received: list[Received] = await until(look, lambda seen: len(seen) >= count, f"{count} webhooks", seconds_max=60)
    return received[:]


async def deliveries(merchant: Person, endpoint: dict[str, Any], state: str = "") -> list[dict[str, Any]]:
    listed = await call(merchant, "GET", f"/{endpoint['endpoint_id']}/deliveries?state={state}")
    items: list[dict[str, Any]] = listed.json()["items"]
    return items


async def test_a_merchant_is_told_of_a_settled_order(shop: PublicShop, receiver: WebhookReceiver) -> None:
    buyer, merchant = await shop.person(funds_minor=5_000), await shop.person("merchant")
    endpoint = await listen(merchant, receiver)
    sku = await shop.product(merchant, price_minor=1_000)

    order = await buyer.client.place_order({sku: 2})
    received = await until_received(receiver, 2)
    rotated = (await call(merchant, "POST", f"/{endpoint['endpoint_id']}/secret")).json()
    await until_state(buyer, order, "SETTLED")
    await merchant.client.refund(order.order_id, {1: 1})
    *_, last = await until_received(receiver, 3)

    messages = [receiver.verified(one, endpoint["secret"]) for one in received[:2]]
    assert {message["type"] for message in messages} == {"order.confirmed", "order.settled"}
    assert {message["data"]["order_id"] for message in messages} == {str(order.order_id)}
    for secret in (endpoint["secret"], rotated["secret"]):
        assert receiver.verified(last, secret)["type"] == "order.refunded"
    assert len({one.header("webhook-id") for one in receiver.received}) == len(receiver.received)
    listed = (await call(merchant, "GET", "")).json()["items"]
    assert [one["endpoint_id"] for one in listed] == [endpoint["endpoint_id"]]
    assert "secret" not in listed[0], "a secret is shown once"


async def test_what_was_not_taken_before_a_kill_is_sent_after_it(
    process: PlatformProcess, shop: PublicShop, receiver: WebhookReceiver
) -> None:
    buyer, merchant = await shop.person(funds_minor=5_000), await shop.person("merchant")
    endpoint = await listen(merchant, receiver)
    sku = await shop.product(merchant, price_minor=1_000)
    receiver.answer(503)
    order = await buyer.client.place_order({sku: 1})
    await until_state(buyer, order, "SETTLED")
    await until_received(receiver, 1)

    process.kill()
    receiver.answer(204)
    process.start()
    taken = await until(
        lambda: deliveries(merchant, endpoint, "DELIVERED"), lambda seen: len(seen) == 2, "both", seconds_max=60
    )

    assert {one["event_type"] for one in taken} == {"order.confirmed", "order.settled"}
    ids = {one.header("webhook-id") for one in receiver.received}
    assert ids == {one["message_id"] for one in taken}, "what is sent again has its first id"


@pytest.mark.timeout(600)  # three commands, each of which took most of a minute on a machine without time
async def test_dead_deliveries_are_listed_and_redriven(
    process: PlatformProcess, shop: PublicShop, receiver: WebhookReceiver
) -> None:
    buyer, merchant = await shop.person(funds_minor=5_000), await shop.person("merchant")
    endpoint = await listen(merchant, receiver)
    sku = await shop.product(merchant, price_minor=1_000)
    receiver.answer(410)
    order = await buyer.client.place_order({sku: 1})
    await until_state(buyer, order, "SETTLED")
    await until(lambda: deliveries(merchant, endpoint, "DEAD"), lambda seen: len(seen) == 2, "two", seconds_max=60)

    told = await run("webhooks", "list", "--data", str(process.data), "--json")
    one = json.loads(told.stdout)["deliveries"][0]
    receiver.answer(204)
    by_rest = await call(merchant, "POST", f"/{endpoint['endpoint_id']}/redrive?message={one['message_id']}")
    again = await call(merchant, "POST", f"/{endpoint['endpoint_id']}/redrive?message={one['message_id']}")
    await until(lambda: deliveries(merchant, endpoint, "DELIVERED"), lambda seen: len(seen) == 1, "one", seconds_max=60)
    by_command = await run("webhooks", "redrive", "--data", str(process.data), "--json")
    await until(lambda: deliveries(merchant, endpoint, "DELIVERED"), lambda seen: len(seen) == 2, "all", seconds_max=60)

    assert (told.returncode, one["error"]) == (1, "status 410")
    assert (by_rest.json(), again.json()["reason"]) == ({"redriven": 1}, "delivery_not_found")
    assert json.loads(by_command.stdout) == {"redriven": 1}
    nothing = await run("webhooks", "list", "--data", str(process.data), "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (0, {"deliveries": []})


async def test_webhooks_are_for_merchants_and_their_own_alone(shop: PublicShop, receiver: WebhookReceiver) -> None:
    buyer, merchant, other = await shop.person(), await shop.person("merchant"), await shop.person("merchant")
    endpoint = await listen(merchant, receiver)
    own = f"/{endpoint['endpoint_id']}"

    asked = [
        await call(buyer, "POST", "", {"url": receiver.url}),
        await call(other, "DELETE", own),
        await call(other, "GET", f"{own}/deliveries"),
        await call(other, "POST", f"{own}/secret"),
        await call(other, "POST", f"{own}/redrive"),
        await call(merchant, "POST", "", {"url": "ftp://shop.example"}),
        await call(merchant, "GET", f"{own}/deliveries?state=LOST"),
        await call(merchant, "GET", "/nonsense/deliveries"),
    ]
    removed = await call(merchant, "DELETE", own)

    assert [(one.status_code, one.json()["reason"]) for one in asked] == [
        (403, "role_required"),
        *[(404, "endpoint_not_found")] * 4,
        (400, "invalid_url"),
        (400, "unknown_state"),
        (404, "endpoint_not_found"),
    ]
    assert removed.status_code == 204
    assert (await call(merchant, "GET", "")).json() == {"items": []}


async def test_who_had_the_account_before_its_password_was_reset_hears_of_no_sale(
    process: PlatformProcess, shop: PublicShop, receiver: WebhookReceiver
) -> None:
    merchant, other = await shop.person("merchant"), await shop.person("merchant")
    await listen(merchant, receiver)
    kept = await listen(other, receiver)
    database = f"sqlite:///{process.data}/orders.db"
    printed = await run("user", "reset-password", merchant.email, "--database-url", database)
    async with httpx.AsyncClient(base_url=process.gateway_url, trust_env=False, timeout=20) as http:
        new = {"token": printed.stdout.strip(), "password": "another horse battery"}
        confirmed = await http.post("/auth/password-reset/confirm", json=new)

    before = await call(merchant, "POST", "", {"url": receiver.url})
    await merchant.client.login(merchant.email, "another horse battery")
    listed = [(await call(person, "GET", "")).json()["items"] for person in (merchant, other)]

    assert (confirmed.status_code, before.status_code) == (204, 401)
    assert [[endpoint["endpoint_id"] for endpoint in items] for items in listed] == [[], [kept["endpoint_id"]]]

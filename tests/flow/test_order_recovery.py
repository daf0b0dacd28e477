"""Orders that come right by themselves, and what an operator sees and does where they can't: on the whole platform."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.embedded.client import TradeFlowClient
from services.embedded.options import Platform
from services.runtime.broker.port import Message
from services.runtime.broker.sqlite import SqliteBroker
from services.runtime.clock import SystemClock
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_channel import open_channel
from services.runtime.ids import new_id
from services.runtime.service_tokens import ServiceTokens
from tests.support.damaged_orders import change_order, forget_refunds, lose_order
from tests.support.own_task import in_own_task
from tests.support.platform import assert_invariants_hold, platform_here, run_command
from tests.support.public_shop import Person, PublicShop, eur, public_shop, until_state
from tradeflow.ledger.v1.commands_pb2 import ReverseRecord
from tradeflow.ledger.v1.ledger_service_pb2 import ListRecordsRequest, ReverseRecordRequest
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

pytestmark = [pytest.mark.ci, pytest.mark.timeout(180)]


class Scene:
    """A running platform, with a buyer, a seller, and a product of 10.00."""

    def __init__(self, platform: Platform, shop: PublicShop, buyer: Person, seller: Person, sku: str) -> None:
        self.platform = platform
        self.shop = shop
        self.buyer = buyer
        self.seller = seller
        self.sku = sku

    async def settled_order(self) -> UUID:
        placed = await self.buyer.client.place_order({self.sku: 1})
        await until_state(self.buyer, placed.order_id, "SETTLED")
        return placed.order_id

    async def get(self, path: str, client: TradeFlowClient) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {client.access_token}"}
        async with httpx.AsyncClient(base_url=self.platform.gateway_url, trust_env=False, timeout=20) as http:
            answer = await http.get(path, headers=headers)
        body: dict[str, Any] = answer.json()
        return {**body, "http_status": answer.status_code}

    async def history(self, order_id: UUID) -> list[dict[str, Any]]:
        body = await self.get(f"/api/v1/orders/{order_id}/history", self.buyer.client)
        items: list[dict[str, Any]] = body["items"]
        return items

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the platform, on its folder."""
        data = ("--data", str(self.platform.folder.path))
        return await asyncio.to_thread(run_command, *arguments, *data)

    async def reverse_capture(self, order_id: UUID) -> int:
        """Let the treasury undo an order's capture, and tell the record that did."""
        url, secret = f"{self.platform.gateway_url}/oauth/token", self.platform.secrets.orders_client_secret
        channel = open_channel(self.platform.ledger_grpc_target)
        async with aclosing(ServiceTokens(url, "orders", secret, SystemClock())) as tokens, channel:
            ledger = LedgerServiceStub(channel)
            metadata = call_metadata(await tokens.token_for("ledger"), user_token=self.shop.treasury.access_token)
            wanted = ListRecordsRequest(hold_id=str(order_id), kinds=["capture"])
            (record,) = (await ledger.ListRecords(wanted, metadata=metadata)).records
            command = ReverseRecord(idempotency_key=f"undo {order_id}", journal_sequence=record.journal_sequence)
            answer = await ledger.ReverseRecord(ReverseRecordRequest(command=command), metadata=metadata)
        return int(answer.receipt.journal_sequence)

    def change_order(self, order_id: UUID, assignments: str) -> None:
        """Damage an order behind the service's back, a minute ago."""
        change_order(self.platform.folder.orders_database, order_id, assignments)


@asynccontextmanager
async def open_scene(data: Path) -> AsyncIterator[Scene]:
    async with platform_here(data) as platform, public_shop(platform.gateway_url, data) as shop:
        buyer = await shop.person(funds_minor=100_000)
        seller = await shop.person("merchant")
        sku = await shop.product(seller)
        yield Scene(platform, shop, buyer, seller, sku)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with in_own_task(open_scene(tmp_path / "data")) as opened:
        yield opened


async def test_an_orders_history_tells_who_moved_it_and_by_which_records(scene: Scene) -> None:
    order_id = await scene.settled_order()
    await scene.shop.operator.refund(order_id)

    moves = await scene.history(order_id)

    buyer, operator = f"user:{scene.buyer.user_id}", moves[-1]["actor"]
    assert [(move["from_state"], move["state"], move["actor"]) for move in moves] == [
        (None, "PENDING", buyer),
        ("PENDING", "RESERVED", buyer),
        ("RESERVED", "CONFIRMED", buyer),
        ("CONFIRMED", "SETTLED", "ledger"),
        ("SETTLED", "REFUNDING", operator),
        ("REFUNDING", "REFUNDED", operator),
    ]
    assert operator.startswith("user:")
    assert operator != buyer
    records = [move["journal_sequence"] for move in moves]
    assert records[0] is None
    assert records[4] is None
    assert records[1] == records[2] < records[3] < records[5]
    stranger = await scene.shop.person()
    assert (await scene.get(f"/api/v1/orders/{order_id}/history", stranger.client))["http_status"] == 404


async def test_a_capture_that_the_treasury_reversed_makes_the_order_refunded(scene: Scene) -> None:
    order_id = await scene.settled_order()

    record = await scene.reverse_capture(order_id)
    order = await until_state(scene.buyer, order_id, "REFUNDED")

    assert order.refunded == order.captured
    last = (await scene.history(order_id))[-1]
    assert (last["actor"], last["reason"], last["journal_sequence"]) == ("ledger", "refunded_by_ledger", record)
    await assert_invariants_hold(scene.platform.folder.path)


async def test_reconcile_tells_what_disagrees_heals_what_it_may_and_operators_see_the_rest(scene: Scene) -> None:
    agreeing, lost, damaged = [await scene.settled_order() for _ in range(3)]
    for order_id in (agreeing, lost, damaged):
        scene.change_order(order_id, "looks = 0")
    clean = await scene.run("reconcile", "--json")
    scene.change_order(damaged, "captured_minor = 999")
    looked = await scene.run("reconcile")
    scene.change_order(lost, "state = 'CONFIRMED', captured_minor = 0")

    healed = await scene.run("reconcile", "--heal", "--json")
    order = await until_state(scene.buyer, lost, "SETTLED")
    listed = await scene.get("/api/v1/discrepancies", scene.shop.operator)
    page = await scene.get("/api/v1/discrepancies?limit=1", scene.shop.operator)
    rest = await scene.get(f"/api/v1/discrepancies?cursor={page['next_cursor']}", scene.shop.operator)
    forbidden = await scene.get("/api/v1/discrepancies", scene.buyer.client)

    assert clean.returncode == 0, clean.stderr
    assert json.loads(clean.stdout)["compared"] >= 3
    assert looked.returncode == 1
    assert f"{damaged} capture_differs (open)" in looked.stdout
    assert healed.returncode == 1
    told = json.loads(healed.stdout)
    assert not told["agrees"]
    assert (str(damaged), "capture_differs", False) in {
        (one["order_id"], one["kind"], one["healed"]) for one in told["found"]
    }
    assert order.captured == order.total
    (item,) = [one for one in listed["items"] if one["order_id"] == str(damaged)]
    assert (item["kind"], item["heals"], item["healed_at"]) == ("capture_differs", False, None)
    assert item["order"] == {"state": "SETTLED", "captured": cents(999), "refunded": cents(0)}
    assert item["ledger"] == {
        "state": "CAPTURED",
        "captured": cents(1_000),
        "refunded": cents(0),
        "remaining": cents(0),
    }
    assert [*page["items"], *rest["items"]] == listed["items"]
    assert "recent" in {one["scope"] for one in listed["rounds"]}
    assert listed["last_healed_at"] is not None
    assert forbidden["http_status"] == 403


async def test_a_refund_that_orders_lost_is_of_the_seller_who_gave_it_and_the_rest_can_be_given_back(
    scene: Scene,
) -> None:
    other = await scene.shop.person("merchant")
    wanted = {scene.sku: 1, await scene.shop.product(other): 1}
    order_id = (await scene.buyer.client.place_order(wanted)).order_id
    await until_state(scene.buyer, order_id, "SETTLED")
    await other.client.refund(order_id, amount=eur(999))
    forget_refunds(scene.platform.folder.orders_database, order_id)

    healed = await scene.run("reconcile", "--heal", "--json")
    await until_state(scene.buyer, order_id, "PARTIALLY_REFUNDED")
    path = f"/api/v1/orders/{order_id}"
    whole, own, others = [
        await scene.get(path, client) for client in (scene.buyer.client, scene.seller.client, other.client)
    ]
    rest = await scene.buyer.client.cancel(order_id)

    assert healed.returncode in {0, 1}, healed.stderr
    assert [[body[name] for name in ("total", "captured", "refunded")] for body in (whole, own, others)] == [
        [cents(2_000), cents(2_000), cents(999)],
        [cents(1_000), cents(1_000), cents(0)],
        [cents(1_000), cents(1_000), cents(999)],
    ]
    assert [line["refundable"] for line in own["lines"] + others["lines"]] == [cents(1_000), cents(1)]
    assert rest.state == "REFUNDED"
    await assert_invariants_hold(scene.platform.folder.path)


async def test_money_that_is_held_for_an_order_that_a_restore_lost_is_let_go(scene: Scene) -> None:
    order_id = (await scene.buyer.client.place_order({scene.sku: 1}, capture="manual")).order_id
    held = await scene.buyer.client.balance("EUR")
    known = await scene.run("reconcile", "--release", str(order_id))
    lose_order(scene.platform.folder.orders_database, order_id)

    released = await scene.run("reconcile", "--release", str(order_id))
    balance = await scene.buyer.client.balance("EUR")
    never_held = await scene.run("reconcile", "--release", str(new_id()))

    assert (known.returncode, never_held.returncode) == (1, 1)
    assert "There is such an order" in known.stderr
    assert "The ledger holds nothing for it" in never_held.stderr
    assert released.returncode == 0, released.stderr
    assert released.stdout == f"{order_id}: 10.00 EUR are the buyer's again\n"
    assert (held.available, balance.available) == (eur(99_000), eur(100_000))


def cents(amount_minor: int) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": "EUR"}


async def test_a_poisoned_event_is_shown_discarded_and_what_waited_for_it_is_redriven(scene: Scene) -> None:
    wallet = str(scene.buyer.user_id)
    broker = SqliteBroker(scene.platform.folder.broker_file)
    poison = Message(topic="wallet-events", key=wallet.encode(), value=b"\xff\xff", headers={"event-id": str(new_id())})
    await broker.producer().publish([poison])
    await broker.close()
    first = await until_letters(scene, 1)
    placed = await scene.buyer.client.place_order({scene.sku: 1})
    letters = await until_letters(scene, 2)
    name = first[0]["letter"]

    shown = await scene.run("dlq", "show", name)
    dry = await scene.run("dlq", "redrive", "--key", wallet, "--dry-run", "--json")
    in_vain = await scene.run("dlq", "redrive", "--letter", name, "--wait-seconds", "1", "--json")
    spared = await scene.run("dlq", "discard", "--letter", name, "--json")
    discarded = await scene.run("dlq", "discard", "--letter", name, "--yes", "--json")
    redriven = await scene.run("dlq", "redrive", "--consumer", "orders", "--wait-seconds", "30", "--json")
    empty = await scene.run("dlq", "list", "--json")

    assert (first[0]["reason"], first[0]["topic"]) == ("malformed_event", "wallet-events")
    assert {letter["reason"] for letter in letters} == {"malformed_event", "parked"}
    assert json.loads(shown.stdout)["value_hex"] == "ffff"
    assert json.loads(dry.stdout)["would_redrive"][0] == name
    assert in_vain.returncode == 1
    assert json.loads(in_vain.stdout)["still_waiting"] == [name]
    assert json.loads(spared.stdout)["would_discard"] == json.loads(discarded.stdout)["discarded"] == [name]
    assert redriven.returncode == 0, redriven.stdout + redriven.stderr
    assert name not in json.loads(redriven.stdout)["redriven"]
    assert (empty.returncode, json.loads(empty.stdout)) == (0, {"letters": []})
    await until_state(scene.buyer, placed.order_id, "SETTLED")


async def until_letters(scene: Scene, count: int) -> list[dict[str, Any]]:
    """Wait until at least so many letters wait."""
    for _ in range(60):
        listed = await scene.run("dlq", "list", "--json")
        letters: list[dict[str, Any]] = json.loads(listed.stdout)["letters"]
        if len(letters) >= count:
            assert listed.returncode == 1
            return letters
    pytest.fail(f"there were never {count} letters")


async def test_the_outboxes_tell_what_waits_and_who_publishes(scene: Scene) -> None:
    order_id = await scene.settled_order()

    status = await scene.run("outbox", "status", "--json")
    table = await scene.run("outbox", "status")
    events = await scene.run("outbox", "show", "orders", "--after", "0", "--json")

    assert status.returncode == 0, status.stderr
    streams = {one["stream"]: one for one in json.loads(status.stdout)["streams"]}
    assert {one["service"] for one in streams.values()} == {"orders", "ledger"}
    assert streams["orders"]["last_sequence"] >= 1
    assert streams["orders"]["rows"] >= 1
    assert streams["orders"]["lease_holder"] is not None
    assert "orders" in table.stdout
    (event,) = json.loads(events.stdout)["events"]
    assert (event["key"], event["event_type"], event["topic"]) == (str(order_id), "OrderEvent", "order-events")


def test_reconcile_says_what_it_lacks(tmp_path: Path) -> None:
    nowhere = run_command("reconcile", "--data", str(tmp_path))
    (tmp_path / "orders.db").touch()
    url = f"sqlite:///{tmp_path}/orders.db"
    without_ledger = run_command("reconcile", "--orders-database", url)
    without_token = run_command("reconcile", "--orders-database", url, "--ledger", "127.0.0.1:1")

    assert [one.returncode for one in (nowhere, without_ledger, without_token)] == [2, 2, 2]
    assert "tradeflow up" in nowhere.stderr
    assert "--ledger" in without_ledger.stderr
    assert "TRADEFLOW_ORDERS_CLIENT_SECRET, TRADEFLOW_ORDERS_TOKEN_URL" in without_token.stderr

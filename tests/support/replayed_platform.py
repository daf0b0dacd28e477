"""What the ledger says after a replay, asked for through the public API as each customer."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner, Result

from services.embedded.cli import app
from services.embedded.client import TradeFlowClient
from services.embedded.public_api import Balance, Order, StatementLine
from services.embedded.replay.access import RETAILER_EMAIL
from services.embedded.replay.keys import email_of, password_of
from tests.support.platform import assert_invariants_hold, platform_here
from tests.support.recomputed_history import Recomputed

CUSTOMERS_AT_ONCE = 8
PAGE_ITEMS = 200


@dataclass(frozen=True)
class Wallet:
    """A customer's account, from its statement."""

    balance: Balance
    lines: list[StatementLine]

    @property
    def paid_minor(self) -> int:
        return -sum(line.amount.amount_minor for line in self.lines if line.amount.amount_minor < 0)

    @property
    def deposited_minor(self) -> int:
        return sum(line.amount.amount_minor for line in self.lines if line.order_id is None)

    @property
    def given_back_minor(self) -> int:
        return sum(line.amount.amount_minor for line in self.lines if line.order_id and line.amount.amount_minor > 0)


def run_replay(*arguments: str, environment: Mapping[str, str] | None = None) -> Result:
    """Run `tradeflow replay` in this process, and put logging back as it was: the command's streams are gone then."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return CliRunner().invoke(app, ["replay", *arguments], env=dict(environment or {}))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def replay(file: Path, data: Path) -> dict[str, Any]:
    """Run the command to its end, and return what it says."""
    ended = run_replay(str(file), "--data", str(data), "--json")
    assert ended.exit_code == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def assert_ledger_says(data: Path, expected: Recomputed) -> int:
    """Compare every customer's wallet, the shop's orders and the invariants; return how many postings there are."""
    return asyncio.run(_compared_postings(data, expected))


async def _compared_postings(data: Path, expected: Recomputed) -> int:
    async with platform_here(data) as running, TradeFlowClient(running.gateway_url) as visitor:
        secret = bytes.fromhex((data / "replay" / "secret").read_text())
        gate = asyncio.Semaphore(CUSTOMERS_AT_ONCE)

        async def compared(customer: str) -> int:
            async with gate:
                wallet = await wallet_of(visitor, email_of(customer), secret)
            assert wallet.paid_minor == wallet.deposited_minor == expected.settled_minor[customer], customer
            assert wallet.given_back_minor == expected.refunded_minor.get(customer, 0), customer
            assert wallet.balance.posted.amount_minor == wallet.given_back_minor
            assert wallet.balance.pending_outgoing.amount_minor == 0
            return len(wallet.lines)

        postings = await asyncio.gather(*(compared(customer) for customer in expected.settled_minor))
        orders = await orders_of_the_shop(visitor, secret)
    assert len(orders) == len(expected.orders)
    assert {order.state for order in orders} <= {"SETTLED", "PARTIALLY_REFUNDED", "REFUNDED"}
    assert sum(order.captured.amount_minor for order in orders) == sum(expected.settled_minor.values())
    assert sum(order.refunded.amount_minor for order in orders) == sum(expected.refunded_minor.values())
    await assert_invariants_hold(data)
    return sum(postings)


def assert_report_says(said: dict[str, Any], expected: Recomputed) -> None:
    """Compare the closing table with the file."""
    assert said["rows_settled"] == len(expected.rows_settled)
    assert said["rows_refunded"] == len(expected.rows_refunded)
    assert said["rows_rejected"] == len(expected.rejected)
    assert said["rows_read"] == said["rows_settled"] + said["rows_refunded"] + said["rows_rejected"]
    assert said["orders_settled"] == len(expected.orders)
    money = {"in_minor": sum(expected.settled_minor.values()), "out_minor": sum(expected.refunded_minor.values())}
    assert said["money"] == {"GBP": money}
    assert {part["row"]: part["quantity_unmatched"] for part in said["part_refunds"]} == expected.unmatched


async def wallet_of(visitor: TradeFlowClient, email: str, secret: bytes) -> Wallet:
    client = visitor.another()
    await client.login(email, password_of(secret, email))
    lines: list[StatementLine] = []
    cursor = None
    while True:
        page = await client.statement("GBP", cursor=cursor, limit=PAGE_ITEMS)
        lines += page.items
        cursor = page.next_cursor
        if cursor is None:
            return Wallet(await client.balance("GBP"), lines)


async def orders_of_the_shop(visitor: TradeFlowClient, secret: bytes) -> list[Order]:
    client = visitor.another()
    await client.login(RETAILER_EMAIL, password_of(secret, RETAILER_EMAIL))
    orders: list[Order] = []
    cursor = None
    while True:
        page = await client.list_orders(role="seller", cursor=cursor, limit=PAGE_ITEMS)
        orders += page.items
        cursor = page.next_cursor
        if cursor is None:
            return orders

"""Where a replay goes, and what the ledger says after it, asked for through the public API as each customer."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from typer.testing import CliRunner, Result

from services.embedded.cli import app
from services.embedded.client import TradeFlowClient
from services.embedded.data_folder import TREASURY_EMAIL
from services.embedded.public_api import Balance, Order, StatementLine
from services.embedded.replay.access import CREDENTIALS_VARIABLES, RETAILER_EMAIL
from services.embedded.replay.keys import email_of, password_of
from services.embedded.replay.shop import Credentials
from tests.support.any_platform import AnyPlatform
from tests.support.logs_as_before import logs_as_before
from tests.support.platform import assert_invariants_hold, platform_here
from tests.support.recomputed_history import Recomputed

CUSTOMERS_AT_ONCE = 8
PAGE_ITEMS = 200
MERCHANT = Credentials(email="shop@x.example", password="a long password")


class ReplayTarget(Protocol):
    """A platform of the replay's own on its data folder, or one that runs already."""

    @property
    def data(self) -> Path:
        """Where the replay remembers what it did."""
        ...

    @property
    def options(self) -> Sequence[str]:
        """What the command is told."""
        ...

    @property
    def variables(self) -> Mapping[str, str]:
        """What its environment holds."""
        ...

    def retailer(self, secret: bytes) -> Credentials:
        """Tell who sells, by the secret that the replay drew."""
        ...

    def running(self) -> AbstractAsyncContextManager[str]:
        """Let it run while the body asks it; the value is the gateway's address."""
        ...

    async def assert_invariants_hold(self) -> None:
        """Check all invariants."""
        ...


@dataclass(frozen=True)
class OwnPlatform:
    """Fits `ReplayTarget`: the embedded platform, which runs as long as the command."""

    data: Path

    @property
    def options(self) -> Sequence[str]:
        """What the command is told."""
        return ("--data", str(self.data))

    @property
    def variables(self) -> Mapping[str, str]:
        """What its environment holds."""
        return {}

    def retailer(self, secret: bytes) -> Credentials:
        """Tell who sells, by the secret that the replay drew."""
        return Credentials(email=RETAILER_EMAIL, password=password_of(secret, RETAILER_EMAIL))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Run it again to ask it."""
        async with platform_here(self.data) as running:
            yield running.gateway_url

    async def assert_invariants_hold(self) -> None:
        """Check all invariants on the folder."""
        await assert_invariants_hold(self.data)


@dataclass(frozen=True)
class RunningPlatform:
    """Fits `ReplayTarget`: a platform that goes on while replays come and go."""

    data: Path
    platform: AnyPlatform

    @property
    def options(self) -> Sequence[str]:
        """What the command is told."""
        return ("--data", str(self.data), "--url", self.platform.gateway_url)

    @property
    def variables(self) -> Mapping[str, str]:
        """What its environment holds."""
        treasury_password = self.platform.folder.secrets().treasury_password
        accounts = (TREASURY_EMAIL, treasury_password, MERCHANT.email, MERCHANT.password)
        return dict(zip(CREDENTIALS_VARIABLES, accounts, strict=True))

    def retailer(self, secret: bytes) -> Credentials:  # noqa: ARG002 - the port's signature
        """Tell who sells."""
        return MERCHANT

    async def register_merchant(self) -> None:
        """Sign the seller up."""
        async with TradeFlowClient(self.platform.gateway_url) as visitor:
            await visitor.register(MERCHANT.email, MERCHANT.password, "merchant")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """It runs already."""
        yield self.platform.gateway_url

    async def assert_invariants_hold(self) -> None:
        """Check all invariants, while it runs."""
        await self.platform.assert_invariants_hold()


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
    with logs_as_before():
        return CliRunner().invoke(app, ["replay", *arguments], env=dict(environment or {}))


def replay(file: Path, target: ReplayTarget) -> dict[str, Any]:
    """Run the command to its end, and return what it says."""
    ended = run_replay(str(file), *target.options, "--json", environment=target.variables)
    assert ended.exit_code == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def assert_ledger_says(target: ReplayTarget, expected: Recomputed) -> int:
    """Compare every customer's wallet, the shop's orders and the invariants; return how many postings there are."""
    return asyncio.run(_compared_postings(target, expected))


async def _compared_postings(target: ReplayTarget, expected: Recomputed) -> int:
    async with target.running() as url, TradeFlowClient(url) as visitor:
        secret = bytes.fromhex((target.data / "replay" / "secret").read_text())
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
        orders = await orders_of_the_shop(visitor, target.retailer(secret))
    assert len(orders) == len(expected.orders)
    assert {order.state for order in orders} <= {"SETTLED", "PARTIALLY_REFUNDED", "REFUNDED"}
    assert sum(order.captured.amount_minor for order in orders) == sum(expected.settled_minor.values())
    assert sum(order.refunded.amount_minor for order in orders) == sum(expected.refunded_minor.values())
    await target.assert_invariants_hold()
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


async def orders_of_the_shop(visitor: TradeFlowClient, retailer: Credentials) -> list[Order]:
    client = visitor.another()
    await client.login(retailer.email, retailer.password)
    orders: list[Order] = []
    cursor = None
    while True:
        page = await client.list_orders(role="seller", cursor=cursor, limit=PAGE_ITEMS)
        orders += page.items
        cursor = page.next_cursor
        if cursor is None:
            return orders

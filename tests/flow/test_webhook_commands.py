"""`tradeflow webhooks` says so where the endpoint that it is asked for isn't there, instead of doing nothing to it."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from services.embedded.cli import app
from services.embedded.data_folder import DataFolder
from services.embedded.sqlite_url import sqlite_url
from services.orders.domain.webhook import WebhookEndpoint
from services.orders.outbound.webhook_rows import SqlWebhookRows
from services.orders.wiring import MIGRATIONS
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database

NOW = datetime(2026, 5, 1, tzinfo=UTC)

THERE, REMOVED, NOWHERE = UUID(int=1), UUID(int=2), UUID(int=3)


def an_endpoint(endpoint_id: UUID) -> WebhookEndpoint:
    return WebhookEndpoint(
        endpoint_id=endpoint_id,
        merchant_id=UUID(int=9),
        url="https://shop.example",
        secret=b"s",
        old_secret=None,
        old_secret_ends_at=None,
        failures=0,
        created_at=NOW,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two endpoints, one of them removed; nothing was ever sent."""

    async def make() -> None:
        database = open_database(sqlite_url(DataFolder(tmp_path).orders_database))
        await migrate(database, MIGRATIONS)
        async with database.transaction() as connection:
            rows = SqlWebhookRows(connection)
            for endpoint_id in (THERE, REMOVED):
                await rows.add(an_endpoint(endpoint_id))
            await rows.remove(an_endpoint(REMOVED), NOW)
        await database.close()

    asyncio.run(make())
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in ("webhooks", *arguments)])


@pytest.mark.parametrize("command", ["list", "list --pending", "redrive", "redrive --json"])
@pytest.mark.parametrize("endpoint", [REMOVED, NOWHERE])
def test_an_endpoint_that_is_not_there_is_told(folder: Path, command: str, endpoint: UUID) -> None:
    told = call(*command.split(), "--endpoint", endpoint, "--data", folder)

    assert told.exit_code == 2
    assert told.stdout == ""
    assert f"there is no endpoint {endpoint}, or its merchant removed it" in told.stderr


def test_an_endpoint_without_dead_deliveries_is_no_failure(folder: Path) -> None:
    listed = call("list", "--endpoint", THERE, "--data", folder, "--json")
    redriven = call("redrive", "--endpoint", THERE, "--data", folder, "--json")

    assert (listed.exit_code, json.loads(listed.stdout)) == (0, {"deliveries": []})
    assert (redriven.exit_code, json.loads(redriven.stdout)) == (0, {"redriven": 0})

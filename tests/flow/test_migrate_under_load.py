"""Upgrades without an interruption: released code works on while additions are made, and beside today's code."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.embedded.redis_server import serving_redis
from services.runtime.database.migration_modules import migrations_of
from services.runtime.database.migrations import migrate
from services.runtime.database.schema_state import read_schema_state
from services.runtime.database_opening import open_database
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema
from tests.support.platform import REPOSITORY, run_command
from tests.support.public_load import Load, a_load, stop_load
from tests.support.public_shop import public_shop
from tests.support.released_code import released_code
from tests.support.service_process import ServiceProcess
from tests.support.service_processes import service_processes
from tests.support.verified_book import verified

WITH_TABLES = ("ledger", "orders")

PATIENCE_SECONDS = 240.0
"""For one call of `tradeflow`: a second or two, on a machine with nothing else to do."""


@pytest.fixture
def databases(mysql_server: Server) -> Iterator[dict[str, str]]:
    with fresh_schema(mysql_server.url) as ledger, fresh_schema(mysql_server.url) as orders:
        yield {"ledger": ledger, "orders": orders}


async def more(load: Load, orders: int) -> None:
    """See that orders are answered on and on."""
    await load.until_answered(len(load.answered) + orders)


async def pending(databases: dict[str, str]) -> list[str]:
    """Tell which of today's migrations the databases lack."""
    names = []
    for service, url in databases.items():
        database = open_database(url)
        state = await read_schema_state(database, migrations_of(f"services.{service}.migrations"))
        await database.close()
        names += [migration.name for migration in state.pending]
    return names


def migrate_first(databases: dict[str, str]) -> None:
    """Call `tradeflow migrate` as an administrator does before a rollout."""
    for service, url in databases.items():
        environment = {f"TRADEFLOW_{service.upper()}_DATABASE_URL": url}
        ended = run_command(
            "migrate",
            "apply",
            "--service",
            service,
            "--phase",
            "pre",
            environment=environment,
            seconds_max=PATIENCE_SECONDS,
        )
        assert ended.returncode == 0, ended.stderr


async def finish(service: str, url: str) -> None:
    """Take away what no running code uses any more."""
    database = open_database(url)
    await migrate(database, f"services.{service}.migrations", phases=["post"])
    await database.close()


async def replace_by_todays(process: ServiceProcess) -> None:
    await asyncio.to_thread(process.stop)
    process.code = REPOSITORY
    await asyncio.to_thread(process.start)


@pytest.mark.part("mysql")
@pytest.mark.timeout(900)
async def test_released_code_works_on_while_todays_additions_are_made_and_is_replaced(
    tmp_path: Path, databases: dict[str, str]
) -> None:
    released = released_code(tmp_path)
    async with serving_redis() as redis_url:
        with service_processes(tmp_path / "data", redis_url, databases) as processes:
            for process in processes.by_name.values():
                process.code = released
            await processes.start()
            lacking = await pending(databases)
            async with public_shop(processes.gateway_url, processes.data) as shop:
                load = await a_load(shop, buyers=2)
                ordering = asyncio.create_task(load.run())
                await more(load, 5)
                await asyncio.to_thread(migrate_first, databases)
                await more(load, 5)
                # The released code starts on them too, as when its node is drained meanwhile.
                await asyncio.to_thread(processes.by_name["orders"].restart)
                await more(load, 5)
                for name in WITH_TABLES:
                    await replace_by_todays(processes.by_name[name])
                    await more(load, 5)
                for service, url in databases.items():
                    await finish(service, url)
                await more(load, 5)
                await stop_load(ordering)

                await load.assert_every_answer_was_kept()
    report = await verified(databases["ledger"])

    assert lacking
    assert await pending(databases) == []
    assert report.problems == ()

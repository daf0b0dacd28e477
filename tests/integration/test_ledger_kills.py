"""What was answered survives: SIGKILL of the ledger's process and of the database, and whatever stands still."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.ledger.committer.committer import committing
from tests.integration.committer_process import CALLERS, CommitterProcess
from tests.integration.conftest import ledger_database
from tests.integration.journal import assert_book_keeps
from tests.integration.sessions import sessions_of
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema
from tests.support.ledger_commands import deposit
from tests.support.waiting import eventually

pytestmark = pytest.mark.part("mysql")

ANSWERS_MIN = 150
"""So many answers are given before each kill."""


@asynccontextmanager
async def calling(url: str, name: str, folder: Path) -> AsyncIterator[CommitterProcess]:
    """Run a committer and its callers in a process, which doesn't survive the body."""
    process = CommitterProcess(url, name, folder)
    try:
        yield process
    finally:
        process.end()


async def more_answers(process: CommitterProcess) -> None:
    """Wait until its callers got answers from now on."""
    before = len(process.answers())

    def has_more() -> bool:
        assert process.is_alive(), process.log_file.read_text()
        return len(process.answers()) >= before + ANSWERS_MIN

    await eventually(has_more, seconds_max=40)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [6, pytest.param(30, marks=pytest.mark.soak)])
async def test_what_was_answered_survives_kills_of_the_ledger_and_of_the_database(
    private_server: Callable[[str], Server], tmp_path: Path, kills: int
) -> None:
    server = private_server("mysql")
    told: dict[str, int | str] = {}
    with fresh_schema(server.start()) as url:
        async with ledger_database(url) as database:
            for number in range(kills):
                async with calling(url, f"process-{number}", tmp_path) as process:
                    await more_answers(process)
                    if number % 2:
                        server.kill()
                        server.start()
                        await more_answers(process)
                    process.end(signal.SIGKILL)
                    told |= process.answers()

            records = await assert_book_keeps(database, told)

    accepted = sum(isinstance(answer, int) for answer in told.values())
    assert accepted > kills * ANSWERS_MIN // 2
    assert records - accepted <= kills * CALLERS, "an effect that nobody asked for"


@pytest.mark.timeout(120)
async def test_a_committer_that_stands_still_with_the_lock_is_overtaken_and_goes_on_later(
    durable_mysql_url: str, tmp_path: Path
) -> None:
    impatient = f"{durable_mysql_url}?idle_timeout_seconds=2"
    async with ledger_database(durable_mysql_url) as database, calling(impatient, "still", tmp_path) as process:
        await more_answers(process)
        with sessions_of(durable_mysql_url) as sessions:

            async def stands_with_the_lock() -> bool:
                process.send(signal.SIGSTOP)
                if sessions.is_locked("books"):
                    return True
                process.send(signal.SIGCONT)
                return False

            await eventually(stands_with_the_lock)

        async with committing(database, book_id=1) as committer:
            receipt = await committer.submit(deposit(amount=1, idempotency_key="overtakes"))
            process.send(signal.SIGCONT)
            await more_answers(process)
        assert process.end(signal.SIGTERM) == 0
        await assert_book_keeps(database, process.answers() | {"overtakes": receipt.journal_sequence})

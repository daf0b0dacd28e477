"""Why the ledger locks first and reads READ COMMITTED: the other order spends the same money twice, on real InnoDB.

The statements are the smallest that show it, without any code of the ledger: look for the key, lock the account, sum
its postings, write. `test_ledger_double_spend.py` asks the ledger itself.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pymysql
import pytest

from tests.parts.sql_servers import administrator
from tests.support.waiting import eventually

Session = pymysql.Connection

TABLES = (
    "CREATE TABLE accounts (id INT PRIMARY KEY) ENGINE=InnoDB",
    "CREATE TABLE postings (id INT AUTO_INCREMENT PRIMARY KEY, account_id INT, amount BIGINT) ENGINE=InnoDB",
    "CREATE TABLE request_keys (name VARCHAR(20) PRIMARY KEY) ENGINE=InnoDB",
    "INSERT INTO accounts VALUES (1)",
    "INSERT INTO postings (account_id, amount) VALUES (1, 1000)",
)

FIND_KEY = "SELECT COUNT(*) FROM request_keys WHERE name = 'reserve'"
LOCK = "SELECT id FROM accounts WHERE id = 1 FOR UPDATE"
SUM = "SELECT SUM(amount) FROM postings WHERE account_id = 1"
SPEND = "INSERT INTO postings (account_id, amount) VALUES (1, -800)"
WAITING = (
    "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = {}"
)

CACHED_SECONDS = 0.15
"""InnoDB shows a copy of this table that it renews only when nobody asked for 0.1 s."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")])
def url(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    url: str = request.getfixturevalue("durable_mysql_url" if name == "mysql" else "mariadb_url")
    return url


@pytest.fixture
def sessions(url: str) -> Iterator[tuple[Session, Session, Session]]:
    with ExitStack() as stack:
        first, second, observer = (stack.enter_context(closing(administrator(url))) for _ in range(3))
        for statement in TABLES:
            ask(observer, statement)
        yield first, second, observer


def ask(session: Session, statement: str) -> int | None:
    with session.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def begin(session: Session, isolation: str) -> None:
    ask(session, f"SET SESSION TRANSACTION ISOLATION LEVEL {isolation}")
    ask(session, "BEGIN")


def spend_if_enough(session: Session) -> bool:
    """Sum, decide and commit; tell whether it was spent."""
    available = ask(session, SUM)
    assert available is not None
    if available >= 800:
        ask(session, SPEND)
    ask(session, "COMMIT")
    return available >= 800


def reserve_at_once(sessions: tuple[Session, Session, Session], isolation: str) -> list[bool]:
    """Let both look for the key before either locks; the second gets the lock after the first committed."""
    first, second, _ = sessions
    for session in (first, second):
        begin(session, isolation)
        ask(session, FIND_KEY)
    spent = []
    for session in (first, second):
        ask(session, LOCK)
        spent.append(spend_if_enough(session))
    return spent


async def reserve_lock_first(sessions: tuple[Session, Session, Session], isolation: str) -> list[bool]:
    """Let the second wait for the lock while the first spends; nothing is read before the lock."""
    first, second, observer = sessions

    def reserve_second() -> bool:
        begin(second, isolation)
        ask(second, LOCK)
        ask(second, FIND_KEY)
        return spend_if_enough(second)

    second_id = ask(second, "SELECT CONNECTION_ID()")

    async def second_waits() -> bool:
        await asyncio.sleep(CACHED_SECONDS)
        return ask(observer, WAITING.format(second_id)) == 1

    begin(first, isolation)
    ask(first, LOCK)
    ask(first, FIND_KEY)
    with ThreadPoolExecutor(max_workers=1) as threads:
        waiting = threads.submit(reserve_second)
        await eventually(second_waits)
        return [spend_if_enough(first), waiting.result(timeout=10)]


def test_a_plain_read_before_the_lock_spends_the_same_money_twice(sessions: tuple[Session, Session, Session]) -> None:
    spent = reserve_at_once(sessions, "REPEATABLE READ")

    assert spent == [True, True], "both saw the 1000 of a snapshot taken before the lock"
    assert ask(sessions[2], SUM) == -600


def test_read_committed_sees_what_the_lock_waited_for(sessions: tuple[Session, Session, Session]) -> None:
    assert reserve_at_once(sessions, "READ COMMITTED") == [True, False]
    assert ask(sessions[2], SUM) == 200


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
async def test_the_lock_first_spends_once(sessions: tuple[Session, Session, Session], isolation: str) -> None:
    assert await reserve_lock_first(sessions, isolation) == [True, False]
    assert ask(sessions[2], SUM) == 200

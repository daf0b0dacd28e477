from pathlib import Path

import pytest

from services.runtime.broker.opening import open_broker
from services.runtime.database_opening import open_database, sqlite_path
from services.runtime.errors import InvalidArgumentError


async def test_a_database_is_opened_by_its_url(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/made/ledger.db")

    async with database.transaction() as connection:
        await connection.execute("CREATE TABLE t (a BIGINT)")
    await database.close()

    assert (tmp_path / "made" / "ledger.db").exists()


def test_a_path_may_be_absolute_relative_or_escaped() -> None:
    assert sqlite_path("sqlite:////var/a.db", "database") == "/var/a.db"
    assert sqlite_path("sqlite:///a.db", "database") == "a.db"
    assert sqlite_path("sqlite:////var/my%20data/a.db", "database") == "/var/my data/a.db"


@pytest.mark.parametrize("url", ["postgresql://user:secret@host/x", "ledger.db", ""])
def test_a_scheme_that_is_not_supported_is_refused_and_the_supported_named(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="supported: sqlite") as raised:
        open_database(url)

    assert raised.value.reason == "database_scheme_unsupported"
    assert "secret" not in raised.value.message


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite://ledger.db", "sqlite:///"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        open_database(url)

    assert raised.value.reason == "database_url_malformed"


def test_a_broker_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="broker URL of scheme 'amqp'"):
        open_broker("amqp://localhost:5672")

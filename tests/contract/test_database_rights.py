"""What the declared rights say, compared with the tables, with every statement, and with what real servers allow."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from services.runtime.database.grants import Role, declared_rights, grant_statements
from services.runtime.database.migrations import migrate
from services.runtime.database.port import NotGrantedError
from services.runtime.database.schema_state import check_schema
from services.runtime.database_opening import open_database
from services.runtime.errors import InvalidArgumentError, RefusedError
from services.runtime.mysql.dialect import translate
from services.runtime.mysql.server import Server
from services.runtime.mysql.tokens import tokenize
from tests.parts.sql_servers import administrator
from tests.support.database_users import signed_in, user_with_role
from tests.support.sql_texts import SqlText, conflict_target, rights_for, tables_of, texts_of

SERVICES = ("ledger", "orders")


INSERT_ONLY = (
    "accounts",
    "backdated",
    "postings",
    "records",
    "reversals",
    "signed_heads",
    "signing_keys",
    "tree_nodes",
)
"""The journal, and the proof over it."""


def package_of(service: str) -> str:
    return f"services.{service}.migrations"


def declared(service: str, table: str) -> dict[str, set[str]]:
    """Return the rights of a service's own user on a table: by verb the columns, none for all of them."""
    rights = declared_rights(package_of(service))[table].runtime
    parted = [right.removesuffix(")").partition(" (") for right in rights]
    return {verb: set(columns.split(", ")) - {""} for verb, _, columns in parted}


@pytest.mark.parametrize("service", SERVICES)
def test_every_table_has_rights_and_every_right_a_table(service: str) -> None:
    assert len(tables_of(service)) > 10
    assert set(declared_rights(package_of(service))) == {
        *tables_of(service),
        "schema_migrations",
        "schema_compatibility",
    }


@pytest.mark.parametrize("service", SERVICES)
def test_what_the_statements_do_is_allowed(service: str) -> None:
    texts = texts_of(service)
    lacking = [
        (text.module, text.name, table, verb, column)
        for text in texts
        for table, needs in rights_for(text.sql).items()
        for verb, column in needs
        if verb not in declared(service, table)
        or (column and declared(service, table)[verb] and column not in declared(service, table)[verb])
    ]

    assert len(texts) > 30
    assert lacking == []


def test_the_ledgers_own_user_may_do_nothing_that_no_statement_does() -> None:
    needed: dict[str, set[tuple[str, str]]] = {}
    for text in texts_of("ledger"):
        for table, needs in rights_for(text.sql).items():
            needed.setdefault(table, set()).update(needs)
    for table in tables_of("ledger"):
        rights = declared("ledger", table)
        assert set(rights) == {verb for verb, _ in needed[table]}, table
        for verb, columns in rights.items():
            assert columns <= {column for needed_verb, column in needed[table] if needed_verb == verb}, table


@pytest.mark.parametrize("table", INSERT_ONLY)
def test_the_ledgers_own_user_can_only_add_to_the_journal(table: str) -> None:
    assert set(declared("ledger", table)) == {"SELECT", "INSERT"}


@pytest.mark.parametrize("service", SERVICES)
def test_an_upsert_names_the_only_unique_key_of_its_table(service: str) -> None:
    """ON DUPLICATE KEY fires on any of them, ON CONFLICT on the one that it names: with one, both do the same."""
    upserts = [text for text in texts_of(service) if "ON CONFLICT" in text.sql]
    wrong = [
        (text.module, text.name)
        for text in upserts
        if tables_of(service)[next(iter(rights_for(text.sql)))] != [conflict_target(tokenize(text.sql))]
    ]

    assert upserts
    assert wrong == []


def test_names_are_quoted_and_wild_cards_of_a_schema_are_none() -> None:
    (everything,) = grant_statements(package_of("ledger"), schema="my_ledger", user="o'x", host="10.%", role="migrator")
    single = grant_statements(package_of("ledger"), schema="my_led`ger", user="x", host="%", role="runtime")

    assert everything.endswith(r"ON `my\_ledger`.* TO 'o''x'@'10.%';")
    assert "GRANT SELECT, INSERT ON `my_led``ger`.`postings` TO 'x'@'%';" in single
    with pytest.raises(InvalidArgumentError):
        grant_statements(package_of("ledger"), schema="ledger", user="x\\", host="%", role="runtime")


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.part(name)) for name in ("mysql", "mariadb")])
def server(request: pytest.FixtureRequest) -> Server:
    return Server[request.param.upper()]


@pytest.fixture
def url(request: pytest.FixtureRequest, server: Server) -> str:
    server_url: str = request.getfixturevalue(f"{server.name.lower()}_url")
    return server_url


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def migrated_url(url: str, service: str) -> AsyncIterator[str]:
    """Migrate as the migrator, who has no other right, and return the administrator's URL."""
    with user_with_role(url, service, "migrator") as migrators_url:
        database = open_database(migrators_url)
        await migrate(database, package_of(service))
        await database.close()
        yield url


async def test_the_own_user_may_run_every_statement_of_its_service(
    migrated_url: str, service: str, server: Server
) -> None:
    """EXPLAIN asks for the rights that the statement itself needs."""
    with user_with_role(migrated_url, service, "runtime") as url:
        refused = list(_refused(url, texts_of(service), server))

    assert refused == []


def _refused(url: str, texts: list[SqlText], server: Server) -> Iterator[tuple[str, str, str]]:
    with closing(signed_in(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'")
        for text in texts:
            template = translate(text.sql, server).template
            statement = template.render([1] * 64, [1]).encode("latin-1").decode()
            try:
                cursor.execute(f"EXPLAIN {statement}")
            except Exception as error:  # noqa: BLE001 - whatever it is, the test names it
                yield text.module, text.name, str(error)


@pytest.mark.parametrize("role", ["runtime", "reader"])
async def test_neither_the_service_nor_who_looks_may_define_anything(
    migrated_url: str, service: str, role: Role
) -> None:
    with user_with_role(migrated_url, service, role) as url:
        database = open_database(url)
        for definition in (
            "CREATE TABLE more (a BIGINT)",
            "ALTER TABLE outbox ADD COLUMN a BIGINT",
            "DROP TABLE outbox",
        ):
            with pytest.raises(NotGrantedError):
                async with database.transaction() as connection:
                    await connection.execute(definition)
        await check_schema(database, package_of(service), service=service)
        await database.close()


@pytest.mark.parametrize("service", ["ledger"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE postings SET amount = 0 WHERE sequence = 1",
        "DELETE FROM postings WHERE sequence = 1",
        "UPDATE records SET hash = $1 WHERE sequence = 1",
        "DELETE FROM records WHERE sequence = 1",
        "UPDATE signed_heads SET root = $1 WHERE tree_size = 1",
        "DELETE FROM books WHERE book_id = 1",
    ],
)
async def test_the_ledgers_own_user_can_not_change_the_past(migrated_url: str, statement: str) -> None:
    with user_with_role(migrated_url, "ledger", "runtime") as url:
        database = open_database(url)
        with pytest.raises(NotGrantedError):
            async with database.transaction() as connection:
                await connection.execute(statement, b"0" * 32)
        await database.close()


@pytest.mark.parametrize("service", ["orders"], indirect=True)
async def test_who_only_looks_sees_no_password(migrated_url: str) -> None:
    with user_with_role(migrated_url, "orders", "reader") as url:
        database = open_database(url)
        async with database.snapshot() as connection:
            await connection.fetch("SELECT user_id, roles FROM users")
        for hidden in ("SELECT password_hash FROM users", "SELECT * FROM refresh_tokens"):
            with pytest.raises(NotGrantedError):
                async with database.snapshot() as connection:
                    await connection.fetch(hidden)
        await database.close()


async def test_a_user_without_rights_is_told_where_they_come_from(migrated_url: str, service: str) -> None:
    schema = urlsplit(migrated_url).path.removeprefix("/")
    with user_with_role(migrated_url, service, None) as url:
        # A server lets nobody in who has no right at all in the schema.
        with closing(administrator(migrated_url)) as connection, connection.cursor() as cursor:
            cursor.execute(f"GRANT SELECT ON {schema}.outbox TO '{urlsplit(url).username}'@'%'")
        database = open_database(url)
        with pytest.raises(RefusedError, match="tradeflow grants") as raised:
            await check_schema(database, package_of(service), service=service)
        await database.close()

    assert raised.value.reason == "grants_missing"

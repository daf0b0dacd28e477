"""Golden translations: what each form becomes, and what is refused before it runs."""

from enum import StrEnum
from uuid import UUID

import pytest

from services.runtime.mysql.dialect import translate
from services.runtime.mysql.refusals import UntranslatableError
from services.runtime.mysql.server import Server, UnsupportedServerError, server_of
from services.runtime.mysql.statement import Statement


def on_mysql(sql: str, *, returning_allowed: bool = False) -> Statement:
    return translate(sql, Server.MYSQL, returning_allowed=returning_allowed)


def written(sql: str, *arguments: object, server: Server = Server.MYSQL) -> str:
    return translate(sql, server).template.render(arguments)


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (None, "NULL"),
        (True, "1"),
        (-(2**63), "-9223372036854775808"),
        ("it's \\ 100 %", "'it''s \\\\ 100 %'"),
        (b"\x00\xff'\\", "_binary'\x00\xff''\\\\'"),
        (UUID(int=0x27), "_binary'" + "\x00" * 15 + "'''"),
        (Colour.RED, "'red'"),
        (0.5, "0.5"),
    ],
)
def test_values_are_written_as_literals(value: object, literal: str) -> None:
    assert written("SELECT $1", value) == f"SELECT {literal}"


def test_texts_of_people_are_utf_8_in_the_packet() -> None:
    assert written("SELECT $1", "ü").encode("latin-1") == "SELECT 'ü'".encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"a": 1}])
def test_values_that_no_column_has_are_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        written("SELECT $1", value)


def test_too_few_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\$2"):
        written("SELECT a FROM t WHERE b = $1 AND c = $2", 1)


def test_an_argument_may_stand_twice_and_in_any_order() -> None:
    assert (
        written("UPDATE t SET a = $2 WHERE b = $1 AND a < $2", "b", 7) == "UPDATE t SET a = 7 WHERE b = 'b' AND a < 7"
    )


def test_a_list_stands_where_the_text_has_it() -> None:
    template = on_mysql("SELECT a FROM t WHERE b = $1 AND c IN ($in)").template

    assert template.render([1], [b"x", b"y"]) == "SELECT a FROM t WHERE b = 1 AND c IN (_binary'x', _binary'y')"


def test_quoted_and_commented_words_are_left_alone() -> None:
    sql = """SELECT 'it''s $1 returning %', "on conflict" FROM t -- $2 for update
        WHERE /* $3 */ a = 1"""

    assert written(sql) == """SELECT 'it''s $1 returning %', "on conflict" FROM t WHERE a = 1"""


def test_a_backslash_in_a_text_stays_a_character() -> None:
    assert written(r"SELECT 'a\' FROM t") == r"SELECT 'a\\' FROM t"


@pytest.mark.parametrize(
    ("sql", "mysql", "mariadb"),
    [
        (
            "INSERT INTO t (a, b) VALUES ($1, 0) ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b, c = c + 1",
            'INSERT INTO t (a, b) VALUES (7, 0) AS excluded ON DUPLICATE KEY UPDATE "b" = excluded."b" , "c" = c + 1',
            'INSERT INTO t (a, b) VALUES (7, 0) ON DUPLICATE KEY UPDATE "b" = VALUES("b") , "c" = c + 1',
        ),
        (
            'INSERT INTO "t" ("a") VALUES ($1) ON CONFLICT ("a") DO UPDATE SET "a"="t"."a" + EXCLUDED."a"',
            'INSERT INTO "t" ("a") VALUES (7) AS excluded ON DUPLICATE KEY UPDATE "a" ="t"."a" + excluded."a"',
            'INSERT INTO "t" ("a") VALUES (7) ON DUPLICATE KEY UPDATE "a" ="t"."a" + VALUES("a")',
        ),
        (
            "INSERT INTO t (a, b) VALUES ($1, 0) ON CONFLICT (b) DO NOTHING",
            'INSERT INTO t (a, b) VALUES (7, 0) ON DUPLICATE KEY UPDATE "b" = "b"',
            'INSERT INTO t (a, b) VALUES (7, 0) ON DUPLICATE KEY UPDATE "b" = "b"',
        ),
        ("SELECT a FROM t FOR UPDATE SKIP LOCKED", None, None),
        ("SELECT a FROM t FOR SHARE", None, "SELECT a FROM t LOCK IN SHARE MODE"),
        ("SELECT a FROM t LIMIT 3 OFFSET 2", None, None),
        (
            "SELECT a FROM t OFFSET 2",
            "SELECT a FROM t LIMIT 18446744073709551615 OFFSET 2",
            "SELECT a FROM t LIMIT 18446744073709551615 OFFSET 2",
        ),
        (
            "SELECT a FROM (SELECT a FROM t LIMIT 9) AS s OFFSET 2",
            "SELECT a FROM (SELECT a FROM t LIMIT 9) AS s LIMIT 18446744073709551615 OFFSET 2",
            "SELECT a FROM (SELECT a FROM t LIMIT 9) AS s LIMIT 18446744073709551615 OFFSET 2",
        ),
        (
            "SELECT a FROM t AS s INDEXED BY t_by_a CROSS JOIN u ON u.a = s.a WHERE b = $1",
            "SELECT a FROM t AS s FORCE INDEX (t_by_a) STRAIGHT_JOIN u ON u.a = s.a WHERE b = 7",
            "SELECT a FROM t AS s FORCE INDEX (t_by_a) STRAIGHT_JOIN u ON u.a = s.a WHERE b = 7",
        ),
        (
            "SELECT CAST(a AS TEXT) || 'x' FROM t WHERE a ILIKE 'b%'",
            "SELECT CAST(a AS CHAR) || 'x' FROM t WHERE a COLLATE utf8mb4_general_ci LIKE 'b%'",
            "SELECT CAST(a AS CHAR) || 'x' FROM t WHERE a COLLATE utf8mb4_general_ci LIKE 'b%'",
        ),
    ],
)
def test_forms_are_written_as_each_server_has_them(sql: str, mysql: str | None, mariadb: str | None) -> None:
    assert written(sql, 7) == (mysql or sql)
    assert written(sql, 7, server=Server.MARIADB) == (mariadb or sql)


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        (
            "CREATE TABLE IF NOT EXISTS t (id UUID PRIMARY KEY, f BOOLEAN, s BINARY(16), h BINARY(32))",
            "CREATE TABLE IF NOT EXISTS t (id BINARY(16) PRIMARY KEY , f BOOLEAN , s VARBINARY(16) , h BINARY(32))",
        ),
        (
            "CREATE TABLE t (a VARBINARY(64), b TEXT, c BLOB, PRIMARY KEY (a), CHECK (b IN ('x')))",
            "CREATE TABLE t (a VARBINARY(64) , b MEDIUMTEXT , c MEDIUMBLOB , PRIMARY KEY (a) , CHECK (b IN ('x')))",
        ),
        (
            'CREATE TABLE "t" ("id" SERIAL PRIMARY KEY NOT NULL, "u" UUID DEFAULT gen_random_uuid())',
            'CREATE TABLE "t" ("id" INTEGER AUTO_INCREMENT PRIMARY KEY NOT NULL , "u" BINARY(16))',
        ),
        (
            'CREATE TABLE "t" ("b" BYTEA DEFAULT \'\', "t" TIMESTAMPTZ DEFAULT current_timestamp)',
            'CREATE TABLE "t" ("b" MEDIUMBLOB DEFAULT ( \'\' ) , "t" DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6))',
        ),
    ],
)
def test_tables_are_made_with_mysqls_types(sql: str, translated: str) -> None:
    assert written(sql) == f"{translated} ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("CREATE UNIQUE INDEX i ON t (a, b)", None),
        ('CREATE INDEX IF NOT EXISTS i ON "t" USING btree ("a")', 'CREATE INDEX i ON "t" ("a")'),
        ("ALTER TABLE t ADD COLUMN id UUID, DROP COLUMN b", "ALTER TABLE t ADD COLUMN id BINARY(16) , DROP COLUMN b"),
        ("ALTER TABLE t RENAME COLUMN a TO b", None),
        ("ALTER TABLE t ADD COLUMN n NUMERIC(10, 2)", "ALTER TABLE t ADD COLUMN n DECIMAL(10,2)"),
        ("DROP INDEX i ON t", None),
        ("DROP TABLE IF EXISTS t", None),
    ],
)
def test_definitions_are_translated(sql: str, translated: str | None) -> None:
    assert written(sql) == (translated or sql)


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("INSERT INTO t (a) VALUES ($1) RETURNING a", "RETURNING"),
        ("DELETE FROM t RETURNING a", "RETURNING"),
        ("UPDATE t SET a = 1 RETURNING a", "RETURNING"),
        ("INSERT OR IGNORE INTO t (a) VALUES ($1)", "INSERT OR"),
        ("INSERT IGNORE INTO t (a) VALUES ($1)", "INSERT IGNORE"),
        ("REPLACE INTO t (a) VALUES ($1)", "REPLACE"),
        ("INSERT INTO t (a) VALUES ($1) ON DUPLICATE KEY UPDATE a = 1", "ON DUPLICATE"),
        ("INSERT INTO t VALUES ($1)", "INSERT"),
        ("INSERT INTO t (a) VALUES ($1) ON CONFLICT DO NOTHING", "ON CONFLICT"),
        ("INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = 1 WHERE a = 2", "WHERE"),
        ("INSERT INTO t (a) SELECT a FROM s ON CONFLICT (a) DO UPDATE SET a = EXCLUDED.a", "SELECT"),
        ("SELECT a FROM t WHERE b = ?", "?"),
        ("SELECT a / 2 FROM t", "/"),
        ("SELECT a::text FROM t", "::"),
        ("SELECT `a` FROM t", "`"),
        ("SELECT a -> 'b' FROM t", "->"),
        ("SELECT DISTINCT ON (a) a FROM t", "DISTINCT ON"),
        ("SELECT a FROM t FOR NO KEY UPDATE", "FOR NO"),
        ("SELECT CAST(a AS UUID) FROM t", "CAST"),
        ("SELECT 1; DROP TABLE t", ";"),
        ("UPDATE t SET a = b + 1, c = a", "a read after it is set"),
        ("INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = 1, b = t.a", "a read after it is set"),
        ("PRAGMA foreign_keys = ON", "PRAGMA"),
        ("CREATE TABLE t (a TIMESTAMP)", "TIMESTAMP"),
        ("CREATE TABLE t (a INTEGER[])", "["),
        ("CREATE TABLE t (a BIGINT REFERENCES s (a))", "REFERENCES"),
        ("CREATE TABLE t (a BIGINT) WITHOUT ROWID", "CREATE TABLE"),
        ("CREATE INDEX i ON t (a) WHERE a > 0", "WHERE"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
        ("DROP INDEX i", "DROP INDEX"),
        ("ALTER TABLE t ALTER COLUMN a TYPE TEXT", "ALTER TABLE"),
    ],
)
def test_what_has_no_equal_is_refused_and_named(sql: str, found: str) -> None:
    with pytest.raises(UntranslatableError) as raised:
        on_mysql(sql)

    assert found in str(raised.value)


@pytest.mark.parametrize("sql", ["", "  -- nothing", "SELECT 'a", 'SELECT "a'])
def test_what_is_no_sql_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match=r"empty|quote"):
        on_mysql(sql)


def test_an_assignment_may_read_what_is_set_later_or_comes_from_the_new_row() -> None:
    on_mysql("UPDATE t SET looks = looks + 1, a = b, b = 2")
    on_mysql("INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET a = EXCLUDED.a, b = EXCLUDED.a")


def test_what_an_insert_returns_is_told_by_its_arguments() -> None:
    inserted = on_mysql('INSERT INTO "t" ("id","a") VALUES ($1,$2),($3,$4) RETURNING "id"', returning_allowed=True)
    numbered = on_mysql('INSERT INTO "t" ("id","a") VALUES (DEFAULT,$1) RETURNING "id","a"', returning_allowed=True)

    assert inserted.returning is not None
    assert inserted.returning.rows == ({"id": 0}, {"id": 2})
    assert numbered.returning is not None
    assert numbered.returning.rows == ({"id": None, "a": 0},)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (id, a) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET a = EXCLUDED.a RETURNING id",
        "INSERT INTO t (id, a) VALUES ($1, $2), ($3, $4) ON CONFLICT (id) DO NOTHING RETURNING id",
        "INSERT INTO t (id, a) VALUES (DEFAULT, $1) ON CONFLICT (a) DO NOTHING RETURNING id",
        "INSERT INTO t (id) VALUES ($1) RETURNING a",
        "INSERT INTO t (id) VALUES ($1 + 1) RETURNING id",
        "INSERT INTO t (id) SELECT id FROM s RETURNING id",
        "UPDATE t SET a = 1 RETURNING id",
    ],
)
def test_what_arguments_cannot_tell_is_refused_before_it_runs(sql: str) -> None:
    with pytest.raises(UntranslatableError, match="RETURNING"):
        on_mysql(sql, returning_allowed=True)


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("WITH n AS (SELECT 1 AS a) SELECT a FROM n", True),
        ("WITH n AS (SELECT 1 AS a) DELETE FROM t WHERE a IN (SELECT a FROM n)", False),
        ("UPDATE t SET a = 1", False),
    ],
)
def test_statements_that_read_are_told_from_those_that_write(sql: str, *, reads: bool) -> None:
    assert on_mysql(sql).reads is reads


@pytest.mark.parametrize(
    ("version", "server"),
    [
        ("9.7.1", Server.MYSQL),
        ("8.4.0-cluster", Server.MYSQL),
        ("10.11.14-MariaDB", Server.MARIADB),
        ("5.5.5-11.4.2-MariaDB-log", Server.MARIADB),
    ],
)
def test_a_server_is_known_by_its_version(version: str, server: Server) -> None:
    assert server_of(version) is server


@pytest.mark.parametrize("version", ["8.0.36", "5.7.44-log", "10.6.18-MariaDB", "5.5.5-10.4.1-MariaDB"])
def test_a_server_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(UnsupportedServerError, match="too old"):
        server_of(version)

"""Many rows in one statement; tests/contract/test_database_writes.py shows that servers read them as they were."""

from uuid import UUID

import pytest

from services.runtime.mysql.bulk import BYTES_MAX, ROWS_MAX, statements_for
from services.runtime.mysql.dialect import translate
from services.runtime.mysql.packing import ROWS_MIN
from services.runtime.mysql.server import Server

INSERT = "INSERT INTO t (a, b, c) VALUES ($1, 0, $2)"
UPSERT = f"{INSERT} ON CONFLICT (a) DO UPDATE SET c = EXCLUDED.c, b = t.b + EXCLUDED.b"


def written(sql: str, rows: list[tuple[object, ...]], server: Server = Server.MYSQL) -> list[str]:
    return [text.decode("latin-1") for text in statements_for(translate(sql, server), rows, server)]


def test_rows_become_a_literal_each_and_what_is_the_same_stands_once() -> None:
    rows: list[tuple[object, ...]] = [(number, b"same") for number in range(ROWS_MIN)]

    (statement,) = written(INSERT, rows)

    assert statement.startswith(
        "INSERT INTO t (a, b, c) SELECT SUBSTR(v.p, 1, 2), 0, _binary'same' FROM (VALUES ROW(_binary'00'),ROW("
    )
    assert statement.endswith(",ROW(_binary'31')) AS v(p)")


def test_an_upsert_reads_the_new_row_where_it_stands() -> None:
    rows: list[tuple[object, ...]] = [(number, -number) for number in range(ROWS_MIN)]

    (statement,) = written(UPSERT, rows)

    assert "ROW(_binary'05-05')" in statement
    assert statement.endswith(
        ' AS v(p) ON DUPLICATE KEY UPDATE "c" = SUBSTR(v.p, 3, 3) , "b" = t.b + 0',
    )


def test_an_update_of_rows_joins_them_by_their_keys() -> None:
    rows: list[tuple[object, ...]] = [(number, 1, b"x%02d" % number) for number in range(ROWS_MIN)]

    (statement,) = written("UPDATE t SET c = $3 WHERE b = $2 AND a = $1", rows)

    assert statement.startswith("UPDATE (VALUES ROW(_binary'00x00'),ROW(_binary'01x01'),")
    assert statement.endswith(
        ") AS v(p) STRAIGHT_JOIN t AS t ON t.b = CAST(1 AS SIGNED) AND t.a = CAST(SUBSTR(v.p, 1, 2) AS SIGNED) "
        "SET t.c = SUBSTR(v.p, 3, 3)"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET c = c + $3 WHERE a = $1 AND b = $2",
        "UPDATE t SET c = $3 WHERE a = $1 OR b = $2",
        "UPDATE t SET c = $3 WHERE a > $1 AND b = $2",
    ],
)
def test_an_update_of_another_shape_is_one_statement_a_row(sql: str) -> None:
    rows: list[tuple[object, ...]] = [(number, 1, 2) for number in range(ROWS_MIN)]

    assert len(written(sql, rows)) == ROWS_MIN
    assert len(written("UPDATE t SET c = $3 WHERE a = $1 AND b = $2", rows, Server.MARIADB)) == ROWS_MIN


def test_equal_columns_of_numbers_travel_once() -> None:
    rows: list[tuple[object, ...]] = [(number, number) for number in range(ROWS_MIN)]

    (statement,) = written(INSERT, rows)

    assert "SELECT SUBSTR(v.p, 1, 2), 0, SUBSTR(v.p, 1, 2) FROM (VALUES ROW(_binary'00')," in statement


def test_values_of_many_lengths_stand_at_the_end_and_are_found_by_their_places() -> None:
    rows: list[tuple[object, ...]] = [
        (b"x" * (number % 3), "ü" * number if number % 2 else None) for number in range(ROWS_MIN)
    ]

    (statement,) = written(INSERT, rows)

    assert "SELECT SUBSTR(v.p, SUBSTR(v.p, 1, 8), SUBSTR(v.p, 9, 8)), 0, IF(SUBSTR(v.p, 17, 1), " in statement
    assert "ROW(_binary'000000340000000110000003500000002x\u00c3\u00bc')" in statement


@pytest.mark.parametrize("server", list(Server))
def test_few_rows_are_plain_values(server: Server) -> None:
    rows: list[tuple[object, ...]] = [(1, None), (2, UUID(int=1))]

    assert written(INSERT, rows, server) == [
        "INSERT INTO t (a, b, c) VALUES (1,0,NULL),(2,0,_binary'" + "\x00" * 15 + "\x01')"
    ]


def test_mariadb_takes_plain_values_only() -> None:
    rows: list[tuple[object, ...]] = [(number, b"'") for number in range(ROWS_MIN)]

    (statement,) = written(UPSERT, rows, Server.MARIADB)

    assert statement.startswith("INSERT INTO t (a, b, c) VALUES (0,0,_binary''''),(1,0,")
    assert statement.endswith(' ON DUPLICATE KEY UPDATE "c" = VALUES("c") , "b" = t.b + VALUES("b")')


def test_values_of_types_that_have_no_place_are_plain_too() -> None:
    rows: list[tuple[object, ...]] = [(number / 2, 1) for number in range(ROWS_MIN)]

    (statement,) = written(INSERT, rows)

    assert statement.startswith("INSERT INTO t (a, b, c) VALUES (0.0,0,1),(0.5,0,1)")


def test_other_statements_are_written_once_a_row() -> None:
    assert written("UPDATE t SET a = $2 WHERE b = $1", [(1, "x"), (2, "y")]) == [
        "UPDATE t SET a = 'x' WHERE b = 1",
        "UPDATE t SET a = 'y' WHERE b = 2",
    ]


def test_no_rows_are_no_statement() -> None:
    assert written(INSERT, []) == []


def test_many_rows_and_large_rows_are_split() -> None:
    many = written(INSERT, [(number, number) for number in range(ROWS_MAX * 2 + 1)])
    large = written(INSERT, [(number, bytes(BYTES_MAX // 3)) for number in range(8)])

    assert len(many) == 3
    assert len(large) == 4
    assert max(map(len, large)) <= BYTES_MAX

import pytest

from services.runtime.database import dialect


def test_placeholders_in_order_take_the_arguments_as_they_are() -> None:
    statement = dialect.translate("SELECT a FROM t WHERE b = $1 AND c = $2")

    assert statement.text == "SELECT a FROM t WHERE b = ? AND c = ?"
    assert statement.bind((1, 2)) == (1, 2)


def test_a_placeholder_that_stands_twice_takes_its_argument_twice() -> None:
    statement = dialect.translate("UPDATE t SET a = $2 WHERE b = $1 AND a < $2")

    assert statement.text == "UPDATE t SET a = ? WHERE b = ? AND a < ?"
    assert statement.bind(("b", "a")) == ["a", "b", "a"]


def test_a_list_stands_where_the_text_has_it() -> None:
    statement = dialect.translate("SELECT a FROM t WHERE b = $1 AND c IN ($in) AND d = $2", 2)

    assert statement.text == "SELECT a FROM t WHERE b = ? AND c IN (?, ?) AND d = ?"
    assert statement.bind(("b", "d"), ["c1", "c2"]) == ["b", "c1", "c2", "d"]


def test_what_is_quoted_or_commented_stays_as_it_is() -> None:
    sql = """SELECT 'costs $1? It''s returning', "for update" FROM t -- $2 FOR UPDATE
        /* RETURNING $3 */"""

    assert dialect.translate(sql).text == sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t WHERE b = $1 FOR UPDATE",
        "SELECT a FROM t WHERE b = $1 for update skip locked",
        "SELECT a FROM t WHERE b = $1 FOR\nUPDATE NOWAIT",
    ],
)
def test_the_words_that_lock_rows_are_dropped(sql: str) -> None:
    assert dialect.translate(sql).text == "SELECT a FROM t WHERE b = ?"


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (a) VALUES ($1) ON CONFLICT DO NOTHING",
        "INSERT INTO t (a) VALUES ($1) RETURNING a",
        "DELETE FROM t returning a",
        "INSERT OR IGNORE INTO t (a) VALUES ($1)",
        "INSERT IGNORE INTO t (a) VALUES ($1)",
        "REPLACE INTO t (a) VALUES ($1)",
        "INSERT INTO t (a) VALUES ($1) ON DUPLICATE KEY UPDATE a = 1",
        "SELECT a FROM t WHERE b = ?",
    ],
)
def test_what_only_one_engine_knows_is_refused(sql: str) -> None:
    with pytest.raises(ValueError, match="dialect"):
        dialect.translate(sql)


def test_a_list_outside_of_fetch_in_is_refused() -> None:
    with pytest.raises(ValueError, match="fetch_in"):
        dialect.translate("SELECT a FROM t WHERE b IN ($in)")


def test_lists_of_many_lengths_share_few_shapes() -> None:
    sizes = {len(dialect.padded(list(range(length)))) for length in range(1, dialect.IN_VALUES_MAX + 1)}

    assert sizes == {1, 2, 4, 8, 16, 32, 64, 128, 256, 512}


def test_a_padded_list_holds_nothing_else() -> None:
    assert dialect.padded(["a", "b", "c"]) == ["a", "b", "c", "c"]


def test_an_insert_of_one_row_becomes_one_of_many() -> None:
    sql = "INSERT INTO t (a, b, c) VALUES ($1, 0, $2) ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b"

    assert dialect.translate_rows(sql, 2) == (
        "INSERT INTO t (a, b, c) VALUES (?, 0, ?), (?, 0, ?) ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (a, b) VALUES ($2, $1)",
        "INSERT INTO t (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = $2",
        "UPDATE t SET a = $1 WHERE b = $2",
        "INSERT INTO t (a) VALUES (lower($1))",
    ],
)
def test_other_shapes_run_row_by_row(sql: str) -> None:
    assert dialect.translate_rows(sql, 2) is None


@pytest.mark.parametrize("total", [0, 1, 255, 256, 257, 1_000, 5_000])
def test_rows_are_split_without_a_rest(total: int) -> None:
    counts = dialect.row_counts(total, 10)

    assert sum(counts) == total
    assert all(count & (count - 1) == 0 and count <= dialect.ROWS_MAX for count in counts)


def test_rows_of_many_columns_stay_below_the_limit_of_parameters() -> None:
    assert max(dialect.row_counts(1_000, 1_000)) * 1_000 <= dialect.PARAMETERS_MAX


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("  select a from t", True),
        ("SELECT\na FROM t", True),
        ("PRAGMA data_version", True),
        ("WITH n AS (SELECT updated_at FROM t) SELECT * FROM n", True),
        ("WITH n AS (SELECT 1) INSERT INTO t SELECT * FROM n", False),
        ("UPDATE t SET a = 1", False),
        ("SELECTION", False),
        ("", False),
    ],
)
def test_statements_that_read_are_told_from_those_that_write(sql: str, *, reads: bool) -> None:
    assert dialect.reads_only(sql) is reads


def test_an_index_is_dropped_by_its_own_name() -> None:
    assert dialect.translate("DROP INDEX t_by_a ON t").text == "DROP INDEX t_by_a"
    assert dialect.translate('\n    drop index t_by_a\n    on "t"\n').text.split() == ["drop", "index", "t_by_a"]
    assert dialect.translate("CREATE INDEX t_by_a ON t (a)").text == "CREATE INDEX t_by_a ON t (a)"

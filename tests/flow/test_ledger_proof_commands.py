"""The proof from a shell: heads that are kept, statements that are handed on, books that move."""

import asyncio
import json
import shutil
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from services.embedded.cli import app
from tests.support import ledger_commands as a
from tests.support.ledger_commands import SELLER, STRANGER
from tests.support.ledger_proof import NotarisedBook, some_trade, trade_in
from tests.support.ledger_tampering import tamper

WIDE = {"COLUMNS": "200", "NO_COLOR": "1"}
"""A terminal that breaks no words."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ledger's part of a data folder."""
    trade_in(tmp_path, some_trade())
    return tmp_path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=WIDE)


def verified(folder: Path, *options: object) -> Result:
    return call("verify", "--database", f"sqlite:///{folder / 'ledger.db'}", *options)


def statement_of(folder: Path, wallet: UUID = SELLER) -> bytes:
    told = call("statement", "export", "--wallet", wallet, "--currency", "EUR", "--data", folder)
    assert told.exit_code == 0, told.output
    return told.stdout_bytes


def head_of(folder: Path) -> Path:
    told = call("ledger", "head", "--data", folder)
    assert told.exit_code == 0, told.output
    file = folder / "kept-head.json"
    file.write_bytes(told.stdout_bytes)
    return file


def test_a_tail_that_was_cut_with_everything_adjusted_is_found_by_a_kept_head(folder: Path) -> None:
    # A copy of an earlier day is a book without its tail in which truly everything fits.
    earlier = shutil.copytree(folder, folder / "earlier")
    trade_in(folder, [a.deposit(SELLER, 1)])
    kept = head_of(folder)

    whole = verified(folder, "--head", kept)
    cut_unnoticed = verified(earlier)
    cut = verified(earlier, "--head", kept)

    assert whole.exit_code == 0, whole.output
    assert cut_unnoticed.exit_code == 0, cut_unnoticed.output
    assert cut.exit_code == 1
    assert "the kept head was signed over" in cut.output


def test_a_history_that_went_another_way_is_found_by_a_kept_head(folder: Path) -> None:
    other = shutil.copytree(folder, folder / "other")
    trade_in(folder, [a.deposit(SELLER, 1)])
    trade_in(other, [a.deposit(SELLER, 2), a.deposit(SELLER, 3)])
    kept = head_of(folder)

    told = verified(other, "--head", kept)

    assert told.exit_code == 1
    assert "something up to there was changed" in told.output


def test_a_kept_head_that_was_changed_is_no_head(folder: Path) -> None:
    kept = head_of(folder)
    content = json.loads(kept.read_text())
    content["head"]["tree_size"] -= 1
    kept.write_text(json.dumps(content))

    told = verified(folder, "--head", kept)
    kept.write_text("nonsense")
    malformed = verified(folder, "--head", kept)

    assert told.exit_code == 1
    assert "kept head" in told.output
    assert malformed.exit_code == 2


@pytest.mark.parametrize("member", ["head", "keys"])
def test_brackets_without_end_are_no_head_and_no_keys(folder: Path, tmp_path: Path, member: str) -> None:
    nested, statement = tmp_path / "nested.json", tmp_path / "statement.json"
    nested.write_text(f'{{"{member}": {"[" * 100_000}{"]" * 100_000}}}')
    statement.write_bytes(statement_of(folder))

    told = [verified(folder, "--head", nested), call("statement", "check", statement, "--keys", nested)]

    assert [one.exit_code for one in told] == [2, 2]
    assert [one.output.startswith("tradeflow: This is no ") for one in told] == [True, True]


def test_the_first_broken_record_is_named(folder: Path) -> None:
    head_of(folder)

    async def change() -> None:
        book = await NotarisedBook.begin(folder)
        for sequence in (9, 5):
            book.change("UPDATE records SET metadata = x'00' WHERE sequence = ?", sequence)
        await book.database.close()

    asyncio.run(change())
    told = verified(folder)

    assert told.exit_code == 1
    assert told.output.index("sequence 5") < told.output.index("sequence 9")
    assert verified(folder, "--from", 10).exit_code == 0


def test_a_file_that_is_missing_is_told_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere" / "ledger.db"
    missing.parent.mkdir()

    told = [
        call("verify", "--database", f"sqlite:///{missing}"),
        call("verify", "--data", missing.parent),
        call("ledger", "head", "--data", missing.parent),
        call("ledger", "export", tmp_path / "book.jsonl", "--data", missing.parent),
        call("statement", "export", "--wallet", SELLER, "--currency", "EUR", "--data", missing.parent),
    ]

    assert [answer.exit_code for answer in told] == [2] * len(told)
    assert list(missing.parent.iterdir()) == []
    assert not (tmp_path / "book.jsonl").exists()


def test_a_journal_that_contradicts_what_was_signed_is_told_and_signed_no_more(folder: Path) -> None:
    head_of(folder)
    tamper(f"sqlite:///{folder / 'ledger.db'}", "UPDATE records SET hash = zeroblob(32) WHERE sequence = 3")

    told = [
        call("ledger", "head", "--data", folder),
        call("statement", "export", "--wallet", SELLER, "--currency", "EUR", "--data", folder),
    ]

    assert [answer.exit_code for answer in told] == [1, 1]
    for answer in told:
        assert answer.output.startswith("tradeflow: the journal contradicts the signed head over 15 records"), answer
        assert "tradeflow verify" in answer.output


def test_a_file_that_is_no_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database at all" * 1_000)

    told = [
        call("ledger", "head", "--data", tmp_path),
        call("ledger", "export", tmp_path / "book.jsonl", "--data", tmp_path),
        call("ledger", "import", tmp_path / "ledger.db", "--data", tmp_path),
        call("statement", "export", "--wallet", SELLER, "--currency", "EUR", "--data", tmp_path),
    ]

    assert [answer.exit_code for answer in told] == [1, 1, 1, 1]
    assert {answer.output for answer in told} == {"tradeflow: the database refuses: file is not a database\n"}


def test_a_place_where_nothing_can_be_written_is_told_in_one_line(folder: Path) -> None:
    nowhere = folder / "nowhere"

    told = [
        call("ledger", "export", nowhere / "book.jsonl", "--data", folder),
        call(
            *("statement", "export", "--wallet", SELLER, "--currency", "EUR", "--data", folder),
            *("--out", nowhere / "statement.json"),
        ),
    ]

    assert [answer.exit_code for answer in told] == [2, 2]
    for answer, name in zip(told, ("book.jsonl", "statement.json"), strict=True):
        assert answer.output == f"tradeflow: {nowhere / name}: No such file or directory\n"


def test_a_statement_is_checked_offline(folder: Path, tmp_path: Path) -> None:
    statement, keys = tmp_path / "statement.json", head_of(folder)
    statement.write_bytes(statement_of(folder))
    (folder / "ledger.db").unlink()

    alone = call("statement", "check", statement)
    anchored = call("statement", "check", statement, "--keys", keys)
    for_programs = call("statement", "check", statement, "--keys", keys, "--json")

    assert (alone.exit_code, anchored.exit_code) == (0, 0), alone.output + anchored.output
    assert "rows 1 to 3, balance 12.19 EUR" in alone.output
    assert "give them with --keys" in alone.output
    assert "which your keys vouch for" in anchored.output
    assert json.loads(for_programs.output)["holds"] is True


def test_a_changed_statement_is_refused_and_says_where(folder: Path, tmp_path: Path) -> None:
    statement = tmp_path / "statement.json"
    content = statement_of(folder)
    amount = json.loads(content)["lines"][1]["legs"][1]["amount_minor"]
    statement.write_bytes(content.replace(b'"amount_minor": %d' % amount, b'"amount_minor": %d' % (amount + 500)))

    told = call("statement", "check", statement)

    assert told.exit_code == 1
    assert "The balance after row 2" in told.output
    assert "The statement does not hold." in told.output


def test_keys_of_another_ledger_dont_vouch(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    trade_in(other, some_trade())
    statement = tmp_path / "statement.json"
    statement.write_bytes(statement_of(folder))

    told = call("statement", "check", statement, "--keys", head_of(other))
    malformed = call("statement", "check", statement, "--keys", statement)

    assert told.exit_code == 1
    assert "no trusted key vouches" in told.output
    assert malformed.exit_code == 2


def test_a_wallet_without_account_has_no_statement(folder: Path) -> None:
    told = call("statement", "export", "--wallet", STRANGER, "--currency", "EUR", "--data", folder)

    assert told.exit_code == 2
    assert "no account" in told.output


def test_a_book_moves_with_all_that_was_signed(folder: Path, tmp_path: Path) -> None:
    kept = head_of(folder)
    first, second, copy = tmp_path / "first.jsonl", tmp_path / "second.jsonl", tmp_path / "copy"

    told = [
        call("ledger", "export", first, "--data", folder),
        call("ledger", "import", first, "--data", copy),
        call("ledger", "export", second, "--data", copy),
        verified(copy, "--head", kept),
    ]

    assert [answer.exit_code for answer in told] == [0] * 4, [answer.output for answer in told]
    assert first.read_bytes() == second.read_bytes()
    assert call("ledger", "import", first, "--data", copy).exit_code == 2


def test_a_tampered_book_is_refused(folder: Path, tmp_path: Path) -> None:
    file, copy = tmp_path / "book.jsonl", tmp_path / "copy"
    call("ledger", "export", file, "--data", folder)
    file.write_bytes(file.read_bytes().replace(b"20000", b"90000", 1))

    told = call("ledger", "import", file, "--data", copy)

    assert told.exit_code == 1
    assert call("ledger", "export", tmp_path / "nothing.jsonl", "--data", copy).exit_code == 2

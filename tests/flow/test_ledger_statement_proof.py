"""A statement proves itself: whatever of it is changed shows, and it shows nobody else."""

import asyncio
import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ledger.proof.heads import PublicJwk
from services.ledger.proof.key_folder import add_signing_key
from services.ledger.proof.statement_check import CheckedStatement, check_statement
from services.runtime.errors import InvalidArgumentError, NotFoundError, UnavailableError
from tests.support import ledger_commands as a
from tests.support.ledger_commands import BUYER, OTHER_SELLER, SELLER, STRANGER
from tests.support.ledger_proof import NotarisedBook, some_trade

Document = dict[str, Any]


@pytest.fixture
async def book(tmp_path: Path) -> NotarisedBook:
    book = await NotarisedBook.begin(tmp_path)
    await book.commit(some_trade())
    await book.sign()
    return book


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[PublicJwk]]:
    """A seller's statement with several rows, and the ledger's keys."""

    async def make() -> tuple[bytes, list[PublicJwk]]:
        book = await NotarisedBook.begin(tmp_path_factory.mktemp("book"))
        await book.commit(some_trade())
        await book.sign()
        made = await book.statements.make(SELLER, "EUR"), await book.keys()
        await book.database.close()
        return made

    return asyncio.run(make())


def changed(content: bytes, change: Any) -> bytes:
    """Change the document and lay it out as it was."""
    document = json.loads(content)
    change(document)
    return json.dumps(document, indent=1).encode() + b"\n"


def row_of(document: Document, account_sequence: int) -> Document:
    return next(
        leg
        for line in document["lines"]
        for leg in line["legs"]
        if isinstance(leg, dict) and leg["account_sequence"] == account_sequence
    )


def without_row(document: Document, account_sequence: int) -> None:
    document["lines"] = [line for line in document["lines"] if row_of(document, account_sequence) not in line["legs"]]


def accounts_of(book: NotarisedBook) -> list[tuple[int, str, UUID | None]]:
    return [
        (account_id, code.decode(), UUID(bytes=wallet_id) if wallet_id else None)
        for account_id, code, wallet_id in book.look("SELECT account_id, code, wallet_id FROM accounts")
    ]


def problems_of(content: bytes) -> str:
    return "\n".join(check_statement(content).problems)


async def test_a_statement_holds_and_tells_what_it_proves(book: NotarisedBook) -> None:
    content = await book.statements.make(SELLER, "EUR")

    checked = check_statement(content, anchors=await book.keys())

    assert checked.problems == ()
    assert (checked.wallet_id, checked.currency, checked.is_anchored) == (SELLER, "EUR", True)
    assert (checked.rows, checked.from_account_sequence, checked.to_account_sequence) == (3, 1, 3)
    balances = book.look(
        "SELECT credits_posted - debits_posted FROM balances b JOIN accounts a ON a.account_id = b.account_id"
        " WHERE a.code = ?",
        f"wallet:{SELLER}:EUR".encode(),
    )
    assert balances == [(checked.balance_minor,)]
    assert checked.head == await book.sign()


@pytest.mark.parametrize("wallet", [BUYER, SELLER, OTHER_SELLER])
async def test_every_partys_statement_holds(book: NotarisedBook, wallet: UUID) -> None:
    assert check_statement(await book.statements.make(wallet, "EUR")).problems == ()


async def test_a_range_holds_and_names_its_rows(book: NotarisedBook) -> None:
    content = await book.statements.make(SELLER, "EUR", from_account_sequence=2, to_account_sequence=2)

    checked = check_statement(content)

    assert checked.problems == ()
    assert (checked.rows, checked.from_account_sequence, checked.to_account_sequence) == (1, 2, 2)


async def test_postings_behind_the_newest_head_wait_for_the_next(book: NotarisedBook) -> None:
    await book.commit([a.deposit(SELLER, 1)])

    before = check_statement(await book.statements.make(SELLER, "EUR"))
    await book.sign()
    after = check_statement(await book.statements.make(SELLER, "EUR"))

    assert (before.problems, after.problems) == ((), ())
    assert after.rows == before.rows + 1


async def test_an_account_without_postings_has_an_empty_statement(book: NotarisedBook) -> None:
    await book.commit([a.open_account(STRANGER)])
    await book.sign()

    checked = check_statement(await book.statements.make(STRANGER, "EUR"))

    assert (checked.problems, checked.rows, checked.balance_minor) == ((), 0, 0)


def test_a_statement_of_hundreds_of_rows_holds(tmp_path: Path) -> None:
    async def make() -> bytes:
        book = await NotarisedBook.begin(tmp_path)
        await book.commit([a.deposit(SELLER if number % 3 else BUYER) for number in range(900)])
        await book.sign()
        return await book.statements.make(SELLER, "EUR", to_account_sequence=500)

    checked = check_statement(asyncio.run(make()))

    assert (checked.problems, checked.rows) == ((), 500)


async def test_it_shows_nothing_of_other_parties(book: NotarisedBook) -> None:
    content = await book.statements.make(SELLER, "EUR")
    text, document = content.decode(), json.loads(content)
    own = next(row for row in accounts_of(book) if row[1] == f"wallet:{SELLER}:EUR")
    postings = book.look("SELECT account_id, amount, balance_after, salt, sequence FROM postings")
    own_numbers = {abs(number) for row in postings if row[0] == own[0] for number in row[1:3]}

    for account_id, code, wallet_id in accounts_of(book):
        if account_id != own[0]:
            assert code not in text
        if wallet_id is not None and wallet_id != SELLER:
            assert str(wallet_id) not in text
            assert wallet_id.hex not in text
    for account_id, amount, balance, salt, _ in postings:
        if account_id == own[0]:
            continue
        assert b64encode(salt).decode() not in text
        for number in {abs(amount), abs(balance)} - own_numbers:
            # Small numbers are sequences too: of those the next test knows that they are no amounts.
            assert number < 100 or not re.search(rf"\b{number}\b", text)
    for secret in ("a private note", "orders", "deposit", "key-", "system:", "revenue", "funding"):
        assert secret not in text
    assert document["account"] == {"account_id": own[0], "wallet_id": str(SELLER), "currency": "EUR"}


async def test_each_leg_is_an_own_posting_or_a_bare_hash(book: NotarisedBook) -> None:
    document = json.loads(await book.statements.make(SELLER, "EUR"))
    ((own_id,),) = book.look("SELECT account_id FROM accounts WHERE code = ?", f"wallet:{SELLER}:EUR".encode())

    assert document["lines"]
    for line in document["lines"]:
        rows = book.look(
            "SELECT account_id, amount, hash FROM postings WHERE sequence = ? ORDER BY leg", line["sequence"]
        )
        shown = [leg["amount_minor"] if isinstance(leg, dict) else leg for leg in line["legs"]]
        assert shown == [
            amount if account_id == own_id else b64encode(digest).decode() for account_id, amount, digest in rows
        ]


async def test_two_statements_of_one_record_share_no_salt(book: NotarisedBook) -> None:
    one = json.loads(await book.statements.make(SELLER, "EUR"))
    other = json.loads(await book.statements.make(OTHER_SELLER, "EUR"))

    def salts(document: Document) -> set[str]:
        return {leg["salt"] for line in document["lines"] for leg in line["legs"] if isinstance(leg, dict)}

    assert not salts(one) & salts(other)


@given(st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_one_changed_byte_anywhere_is_found(example: tuple[bytes, list[PublicJwk]], data: st.DataObject) -> None:
    content, keys = example
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda drawn: drawn != content[at]))
    forged = content[:at] + bytes([byte]) + content[at + 1 :]

    assert not check_statement(forged, anchors=keys).holds
    assert not check_statement(forged).holds


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_byte_more_or_less_is_found(example: tuple[bytes, list[PublicJwk]], data: st.DataObject) -> None:
    content, _ = example
    at = data.draw(st.integers(0, len(content) - 1))

    assert not check_statement(content[:at] + content[at + 1 :]).holds
    assert not check_statement(content[:at] + b" " + content[at:]).holds


def test_a_dropped_middle_row_is_named(example: tuple[bytes, list[PublicJwk]]) -> None:
    forged = changed(example[0], lambda document: without_row(document, 2))

    assert "Row 2 is missing." in problems_of(forged)


def test_a_dropped_last_row_is_named(example: tuple[bytes, list[PublicJwk]]) -> None:
    forged = changed(example[0], lambda document: without_row(document, 3))

    assert "Row 3 is missing." in problems_of(forged)


def test_a_dropped_last_row_is_found_though_the_range_was_shortened(example: tuple[bytes, list[PublicJwk]]) -> None:
    def change(document: Document) -> None:
        without_row(document, 3)
        document["to_account_sequence"] = 2

    assert "not as the ledger signed it" in problems_of(changed(example[0], change))


def test_a_changed_amount_is_named(example: tuple[bytes, list[PublicJwk]]) -> None:
    def change(document: Document) -> None:
        row_of(document, 2)["amount_minor"] += 1

    first, *_ = check_statement(changed(example[0], change)).problems
    assert first.startswith("The balance after row 2 is")


def test_an_amount_changed_with_all_balances_is_named(example: tuple[bytes, list[PublicJwk]]) -> None:
    def change(document: Document) -> None:
        row_of(document, 2)["amount_minor"] += 1
        for number in (2, 3):
            row_of(document, number)["balance_minor"] += 1
        document["assertion"]["balance_minor"] += 1

    problems = problems_of(changed(example[0], change))
    assert problems.startswith("Row 2 (record ")
    assert "this is not what was recorded" in problems


def test_a_foreign_signature_is_named(example: tuple[bytes, list[PublicJwk]]) -> None:
    def change(document: Document) -> None:
        document["assertion"]["signature"] = document["head"]["signature"]

    (problem,) = check_statement(changed(example[0], change)).problems
    assert "the statement has a wrong signature" in problem


def test_a_statement_signed_by_somebody_elses_key_is_not_the_ledgers(
    example: tuple[bytes, list[PublicJwk]], tmp_path: Path
) -> None:
    async def forge() -> bytes:
        book = await NotarisedBook.begin(tmp_path)
        await book.commit([a.deposit(SELLER, 1_000_000)])
        await book.sign()
        return await book.statements.make(SELLER, "EUR")

    forged = asyncio.run(forge())

    assert check_statement(forged).holds, "it is consistent in itself"
    assert not check_statement(forged).is_anchored
    (problem,) = check_statement(forged, anchors=example[1]).problems
    assert "no trusted key vouches" in problem


async def test_who_trusts_the_first_key_trusts_statements_after_a_rotation(book: NotarisedBook) -> None:
    first_keys = await book.keys()
    add_signing_key(book.keys_folder, "second.json", made_at_seconds=2**31)
    await book.clock.advance(10)
    await book.commit([a.deposit(SELLER, 1)])
    await book.sign()

    checked = check_statement(await book.statements.make(SELLER, "EUR"), anchors=first_keys)

    assert checked.problems == ()
    assert checked.key_ids != tuple(key.kid for key in first_keys)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"format": "tradeflow-statement/2"}', b"[" * 100_000]
)
def test_what_is_no_statement_is_told(content: bytes) -> None:
    (problem,) = check_statement(content).problems

    assert problem.startswith("This is no statement")


async def test_what_cant_be_made_is_refused_by_name(book: NotarisedBook, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as nobody:
        await book.statements.make(STRANGER, "EUR")
    with pytest.raises(InvalidArgumentError) as beyond:
        await book.statements.make(SELLER, "EUR", from_account_sequence=5)
    with pytest.raises(InvalidArgumentError) as long:
        await book.statements.make(SELLER, "EUR", rows_max=2)
    (tmp_path / "unsigned").mkdir()
    unsigned = await NotarisedBook.begin(tmp_path / "unsigned")
    with pytest.raises(UnavailableError) as too_early:
        await unsigned.statements.make(SELLER, "EUR")

    assert [nobody.value.reason, beyond.value.reason, long.value.reason, too_early.value.reason] == [
        "account_not_open",
        "statement_range_malformed",
        "statement_range_too_large",
        "head_not_signed",
    ]


def test_it_is_a_plain_value() -> None:
    assert CheckedStatement().holds

"""The continuous audit sees each broken invariant, and none while commits go on."""
# ruff: noqa: S608 - the statements are the test's own

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count
from uuid import UUID

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.ledger.auditing import book_walk
from services.ledger.auditing.audited_invariant import AuditedInvariant
from services.ledger.auditing.auditor import Auditor, AuditPace
from services.ledger.auditing.book_walk import BookWalk
from services.ledger.auditing.metrics import AuditMetrics
from services.ledger.commands.command import Command
from services.ledger.committer.committer import Committer, committing
from services.ledger.queries.book import Book
from services.ledger.wiring import MIGRATIONS
from services.money import Money
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database
from services.runtime.errors import TradeFlowError
from tests.support import ledger_commands as a
from tests.support.ledger_commands import BUYER, OTHER_SELLER, SELLER, an_id
from tests.support.ledger_tampering import tamper
from tests.support.waiting import eventually

BUYERS_ACCOUNT = f"(SELECT account_id FROM accounts WHERE wallet_id = x'{BUYER.hex}' AND currency = x'{b'EUR'.hex()}')"
OPEN_HOLD = f"x'{an_id('open').hex}'"
ENDED_HOLD = f"x'{an_id('captured').hex}'"

CHANGES = {
    "a balance raised": (
        f"UPDATE balances SET credits_posted = credits_posted + 1 WHERE account_id = {BUYERS_ACCOUNT}",
        {AuditedInvariant.ZERO_SUM, AuditedInvariant.BALANCES_MATCH_POSTINGS},
    ),
    "a balance lost": (
        f"DELETE FROM balances WHERE account_id = {BUYERS_ACCOUNT}",
        {AuditedInvariant.ZERO_SUM, AuditedInvariant.BALANCES_MATCH_POSTINGS, AuditedInvariant.PENDING_IS_HELD},
    ),
    "a last posting forgotten": (
        f"UPDATE balances SET account_sequence = account_sequence - 1 WHERE account_id = {BUYERS_ACCOUNT}",
        {AuditedInvariant.BALANCES_MATCH_POSTINGS},
    ),
    "a limit overdrawn": (
        f"UPDATE balances SET overdraft_limit = -1000000 WHERE account_id = {BUYERS_ACCOUNT}",
        {AuditedInvariant.LIMITS_KEPT, AuditedInvariant.BALANCES_MATCH_POSTINGS},
    ),
    "money set aside for nothing": (
        f"UPDATE balances SET debits_pending = debits_pending + 1 WHERE account_id = {BUYERS_ACCOUNT}",
        {AuditedInvariant.PENDING_IS_HELD},
    ),
    "a hold that lost an open one's money": (
        f"UPDATE holds SET voided = voided + 1 WHERE hold_id = {OPEN_HOLD}",
        {AuditedInvariant.HOLDS_ADD_UP, AuditedInvariant.PENDING_IS_HELD},
    ),
    "a hold that captured more than it held": (
        f"UPDATE holds SET captured = captured + 1 WHERE hold_id = {ENDED_HOLD}",
        {AuditedInvariant.HOLDS_ADD_UP},
    ),
    "a capture of another amount": (
        f"UPDATE capture_legs SET gross = gross + 1 WHERE hold_id = {ENDED_HOLD} AND seller_id = x'{SELLER.hex}'",
        {AuditedInvariant.HOLDS_ADD_UP},
    ),
    "a record rewritten": (
        "UPDATE records SET metadata = x'00' WHERE sequence = 5",
        {AuditedInvariant.JOURNAL_CHAINED},
    ),
    "a posting of another amount": (
        "UPDATE postings SET amount = amount + 1 WHERE sequence = 3 AND leg = 0",
        {AuditedInvariant.JOURNAL_CHAINED},
    ),
    "a record lost": (
        "DELETE FROM records WHERE sequence = 6",
        {AuditedInvariant.JOURNAL_CHAINED},
    ),
    "a head moved": (
        f"UPDATE books SET last_hash = x'{bytes(32).hex()}'",
        {AuditedInvariant.JOURNAL_CHAINED},
    ),
}
"""One changed row each, and the invariants that it breaks."""


@dataclass
class AuditedBook:
    """A book, its committer, and where it is kept."""

    url: str
    book: Book
    committer: Committer
    registry: CollectorRegistry

    def auditor(self, pace: AuditPace | None = None) -> Auditor:
        metrics = AuditMetrics(self.registry, book_id=self.book.book_id)
        return Auditor(self.book, pace or AuditPace(load_ratio=1, pause_seconds=0.01), metrics)

    def holds(self, invariant: AuditedInvariant) -> float | None:
        return self.registry.get_sample_value("tradeflow_ledger_invariant_holds", {"invariant": invariant.value})


@pytest.fixture
async def audited(engine_url: str) -> AsyncIterator[AuditedBook]:
    """Begin a book with holds in all states."""
    database = open_database(engine_url)
    await migrate(database, MIGRATIONS)
    async with committing(database, book_id=1) as committer:
        for batch in _small_book():
            _accepted(await committer.submit_many(batch))
        yield AuditedBook(engine_url, Book(database=database, book_id=1), committer, CollectorRegistry())
    await database.close()


def _small_book() -> list[list[Command]]:
    return [
        [a.open_account(), a.deposit(amount=20_000), a.deposit(amount=Money(500, "JPY"))],
        [a.reserve("captured", 3_000), a.reserve("parted", 500), a.reserve("voided", 100), a.reserve("open", 700)],
        [a.capture("captured", {SELLER: 1_999, OTHER_SELLER: 1_001}, final=True)],
        [a.capture("parted", {SELLER: 250}), a.void("voided"), a.refund("captured", {SELLER: 999})],
        [a.set_limit(limit=50)],
    ]


def _accepted(outcomes: Sequence[object]) -> None:
    assert [outcome for outcome in outcomes if isinstance(outcome, TradeFlowError)] == []


async def test_a_sound_book_is_found_sound_and_its_money_is_told(audited: AuditedBook) -> None:
    walk = await audited.auditor().walk()

    assert walk.findings.broken == {}
    assert {invariant: audited.holds(invariant) for invariant in AuditedInvariant} == dict.fromkeys(AuditedInvariant, 1)
    read = audited.registry.get_sample_value
    assert read("tradeflow_ledger_open_holds", {"currency": "EUR"}) == 2
    assert read("tradeflow_ledger_open_holds_amount_minor", {"currency": "EUR"}) == 700 + 250
    assert read("tradeflow_ledger_open_holds", {"currency": "JPY"}) == 0
    euros = [amount for (currency, _), amount in walk.sums.balances_minor.items() if currency == "EUR"]
    assert len(euros) > 2
    assert sum(euros) == 0


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("rows_max", [2, 500])
async def test_one_changed_row_breaks_what_it_breaks_and_no_more(
    audited: AuditedBook, change: str, rows_max: int
) -> None:
    sql, broken = CHANGES[change]
    tamper(audited.url, sql)

    walk = await _walked(audited.book, rows_max)

    assert {invariant: str(found.problems[0]) for invariant, found in walk.findings.broken.items()}.keys() == broken


async def test_a_broken_invariant_is_shown_and_told_with_its_first_row(audited: AuditedBook) -> None:
    tamper(audited.url, CHANGES["money set aside for nothing"][0])

    with structlog.testing.capture_logs() as logs:
        await audited.auditor().walk()

    told = [line for line in logs if line["event"] == "ledger_invariant_broken"]
    assert [(line["log_level"], line["invariant"], line["table"], line["column"]) for line in told] == [
        ("error", "pending_is_held", "balances", "debits_pending")
    ]
    assert told[0]["row"].startswith("account ")
    assert told[0]["problem"] == "is 951 and should be 950."
    shown = {invariant for invariant in AuditedInvariant if audited.holds(invariant) == 0}
    assert shown == {AuditedInvariant.PENDING_IS_HELD}


async def test_an_invariant_that_was_mended_holds_again_after_the_next_walk(audited: AuditedBook) -> None:
    auditor = audited.auditor()
    tamper(audited.url, CHANGES["money set aside for nothing"][0])
    await auditor.walk()

    tamper(audited.url, CHANGES["money set aside for nothing"][0].replace("+ 1", "- 1"))
    await auditor.walk()

    assert audited.holds(AuditedInvariant.PENDING_IS_HELD) == 1


@pytest.mark.timeout(180)
@pytest.mark.ci
async def test_nothing_looks_broken_while_commits_go_on(audited: AuditedBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_walk, "FOLLOWED_RECORDS_MAX", 30)
    enough = asyncio.Event()
    traffic = asyncio.create_task(_trade(audited.committer, enough))

    walks = [await _walked(audited.book, 5) for _ in range(4)]
    enough.set()
    await traffic
    walks.append(await _walked(audited.book, 5))

    broken = [str(found.problems[0]) for walk in walks for found in walk.findings.broken.values()]
    assert broken == []
    assert len({walk.sums.sequence for walk in walks}) > 3, "nothing was committed while the book was walked through"


async def test_what_is_committed_between_two_steps_is_taken_into_the_sums(audited: AuditedBook) -> None:
    """Each kind of change happens to accounts and holds that were walked already, and to some that were not."""
    walk = await BookWalk.begin(audited.book, newest_records=100)
    for number in count():
        if walk.done:
            break
        await walk.step(2)
        _accepted(await audited.committer.submit_many(_one_round(number)))

    assert number > 10
    assert [str(found.problems[0]) for found in walk.findings.broken.values()] == []


async def test_a_hold_that_is_opened_after_the_last_hold_was_read_is_counted(audited: AuditedBook) -> None:
    """Ids of holds rise with time, so that each new one comes after all that were read."""
    walk = await BookWalk.begin(audited.book, newest_records=100)
    while walk.part is not book_walk.Part.ACCOUNTS:
        await walk.step(100)

    newest = msgspec.structs.replace(a.reserve("newest", 200), hold_id=UUID(int=(1 << 128) - 2))
    _accepted(await audited.committer.submit_many([newest]))
    while not walk.done:
        await walk.step(100)

    assert [str(found.problems[0]) for found in walk.findings.broken.values()] == []


async def test_nothing_is_shown_by_who_does_not_audit(audited: AuditedBook) -> None:
    age = ("tradeflow_ledger_audit_age_seconds", {"book": "1"})
    task = asyncio.create_task(audited.auditor().run())
    await eventually(lambda: audited.holds(AuditedInvariant.ZERO_SUM) == 1)
    assert (audited.registry.get_sample_value(*age) or 0) >= 0

    task.cancel()
    await asyncio.wait({task})

    assert audited.holds(AuditedInvariant.ZERO_SUM) is None
    assert audited.registry.get_sample_value(*age) is None


async def _walked(book: Book, rows_max: int) -> BookWalk:
    walk = await BookWalk.begin(book, newest_records=100)
    while not walk.done:
        await walk.step(rows_max)
        await asyncio.sleep(0.001)  # reading a file never waits, and who commits needs turns of the loop
    return walk


async def _trade(committer: Committer, enough: asyncio.Event) -> None:
    for number in count():
        _accepted(await committer.submit_many(_one_round(number)))
        if enough.is_set():
            return
        await asyncio.sleep(0.02)  # a book that grows faster than it is walked through has no end


def _one_round(number: int) -> list[Command]:
    """Make a buyer in each third round; hold, capture, void and refund; leave one hold open."""
    buyer = an_id(f"buyer {number // 3}")
    names = [f"{verb} {number}" for verb in ("capture", "void", "keep", "part")]
    return [
        a.deposit(wallet=buyer, amount=5_000),
        *[a.reserve(name, 500, wallet=buyer) for name in names],
        a.capture(names[0], {SELLER: 300, OTHER_SELLER: 200}, wallet=buyer),
        a.void(names[1], wallet=buyer),
        a.capture(names[3], {SELLER: 100}, wallet=buyer, number=1),
        a.refund(names[0], {SELLER: 50}, wallet=buyer),
        a.deposit(wallet=BUYER, amount=10),
        a.reserve(f"of the first account {number}", 5, wallet=BUYER),
    ]

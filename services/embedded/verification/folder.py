"""Check every invariant on one data folder, whether its platform runs or not."""

from collections.abc import Awaitable

from services.embedded.data_folder import DataFolder
from services.embedded.invariants import CheckedInvariant
from services.embedded.verification.event_log import Stream, check_event_log
from services.embedded.verification.ledger_book import CheckedBook, check_book
from services.embedded.verification.progress import Progress, silent
from services.embedded.verification.settlement import check_settlement
from services.embedded.verification.sqlite_files import odd_numbers_of, tables_of
from services.ledger.outbound.book_writing import stream_of
from services.ledger.outbound.wallet_event_encoding import WALLET_EVENTS_TOPIC
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC, ORDERS_STREAM

BOOK_ID = 1
"""The embedded platform has one book."""

PLUMBING_TABLES = frozenset({"idempotency_keys", "outbox", "outbox_relays", "schema_migrations"})
"""Tables that several services have, each its own."""

Finding = tuple[str, list[str]]
"""What was looked at, and what is wrong."""


async def verify_folder(folder: DataFolder, progress: Progress = silent) -> list[CheckedInvariant]:
    """Check all invariants; it changes nothing.

    Raises:
        BadDataFolderError: No platform ever ran on the folder.
    """
    folder.check_databases_exist()
    book = await check_book(folder.ledger_database, progress)
    progress("orders against the ledger", 0, 0)
    settlement = check_settlement(folder.orders_database, folder.ledger_database, is_running=folder.owner() is not None)
    compared, unsettled = await _unless_damaged(settlement)
    progress("events", 0, 0)
    published, missing = await _unless_damaged(check_event_log(folder.broker_file, _streams(folder)))
    progress("numbers", 0, 0)
    counted, odd = await _unless_damaged(_check_numbers(folder))
    return sorted(
        [
            *_of_book(book),
            CheckedInvariant(number=5, looked_at=compared, violations=(*book.of(5), *unsettled)),
            CheckedInvariant(number=6, looked_at=published, violations=tuple(missing)),
            CheckedInvariant(number=9, looked_at=counted, violations=tuple(odd)),
        ],
        key=lambda checked: checked.number,
    )


def _streams(folder: DataFolder) -> tuple[Stream, ...]:
    return (
        Stream(database=folder.orders_database, name=ORDERS_STREAM, topic=ORDER_EVENTS_TOPIC),
        Stream(database=folder.ledger_database, name=stream_of(BOOK_ID), topic=WALLET_EVENTS_TOPIC),
    )


def _of_book(book: CheckedBook) -> list[CheckedInvariant]:
    """Tell what the ledger's own verification says of the invariants that it checks."""
    report = book.report
    if report is None:
        looked_at = dict.fromkeys((1, 2, 3, 4, 7, 8), "the ledger can't be read")
        violations = {**dict.fromkeys(looked_at, ("could not be checked",)), **book.violations}
    else:
        currencies = ", ".join(total.currency for total in report.totals) or "no currency yet"
        looked_at = {
            1: f"{report.postings:,} postings in {currencies}",
            2: f"{report.accounts:,} accounts",
            3: f"{report.holds:,} holds, {report.holds_active:,} of them open",
            4: f"{report.keys:,} keys",
            7: f"{report.records:,} records, head {report.last_hash.hex()[:16]}",
            8: f"{report.wallets:,} wallets",
        }
        violations = dict(book.violations)
    return [
        CheckedInvariant(number=number, looked_at=text, violations=violations.get(number, ()))
        for number, text in looked_at.items()
    ]


async def _check_numbers(folder: DataFolder) -> Finding:
    """Look at all numbers of both databases, and at whose tables they hold."""
    columns, odd = 0, []
    for file in (folder.ledger_database, folder.orders_database):
        of_file, odd_in_file = await odd_numbers_of(file)
        columns += of_file
        odd += [f"{file.name}: {sentence}" for sentence in odd_in_file]
    shared = await tables_of(folder.ledger_database) & await tables_of(folder.orders_database) - PLUMBING_TABLES
    odd += [f"both databases have a table {table}" for table in sorted(shared)]
    return f"2 databases, {columns:,} columns of numbers", odd


async def _unless_damaged(check: Awaitable[Finding]) -> Finding:
    """Turn what a damaged file makes of a check into a finding."""
    try:
        return await check
    except Exception as error:  # noqa: BLE001 - whatever damage makes of the reading, it is a finding and no crash
        return "could not be read", [f"the check failed: {error!r}"]

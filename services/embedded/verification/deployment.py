"""Check the invariants of a platform, wherever its parts are: each part through what its own service offers for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.embedded.book_source import BookSource, sqlite_file
from services.embedded.invariants import CheckedInvariant
from services.embedded.verification import mysql_numbers, sqlite_files
from services.embedded.verification.event_log import EventLog, Stream, check_event_log
from services.embedded.verification.kafka_event_log import KafkaEventLog
from services.embedded.verification.ledger_book import CheckedBook, check_book
from services.embedded.verification.progress import Progress, silent
from services.embedded.verification.settlement import check_settlement
from services.embedded.verification.sqlite_event_log import SqliteEventLog
from services.ledger.outbound.book_writing import stream_of
from services.ledger.outbound.wallet_event_encoding import WALLET_EVENTS_TOPIC, wallet_message_of
from services.ledger.proof.head_file import HeadFile
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC, ORDERS_STREAM
from services.runtime.broker.kafka_url import SCHEME
from services.runtime.database.port import NotGrantedError
from services.runtime.database_opening import sqlite_path
from services.runtime.errors import TradeFlowError, UnavailableError
from services.runtime.url_parts import url_parts

PLUMBING_TABLES = frozenset(
    {
        "idempotency_keys",
        "outbox",
        "outbox_relays",
        "schema_compatibility",
        "schema_migration_lease",
        "schema_migration_steps",
        "schema_migrations",
    }
)
"""Tables that several services have, each its own."""

TURNOVERS = frozenset({("balances", "debits_posted"), ("balances", "credits_posted")})
"""All that an account ever gave, or took: more than any amount in the end."""

Finding = tuple[str, list[str]]
"""What was looked at, and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Where a platform keeps what is checked; what isn't given isn't looked at."""

    book: BookSource
    orders_url: str | None
    broker_url: str | None
    is_running: bool


async def verify_deployment(
    deployment: Deployment,
    progress: Progress = silent,
    *,
    from_sequence: int = 1,
    kept: HeadFile | None = None,
) -> list[CheckedInvariant]:
    """Check all invariants that can be checked with what is given; it changes nothing.

    Args:
        deployment: Which.
        progress: Is told of each step.
        from_sequence: The first record of the journal to check.
        kept: A signed head from elsewhere, which the journal must still fit.

    Raises:
        NotFoundError: There is no such book.
        NotGrantedError: A database's user may not read what is checked.
        UnavailableError: A server can't be reached now, or doesn't answer in time.
    """
    book = await check_book(deployment.book, progress, from_sequence=from_sequence, kept=kept)
    checked = _of_book(book)
    ledger_url, orders_url = deployment.book.database_url, deployment.orders_url
    if orders_url is not None:
        progress("orders against the ledger", 0, 0)
        settlement = check_settlement(
            orders_url, ledger_url, is_running=deployment.is_running, book_id=deployment.book.book_id
        )
        compared, unsettled = await _unless_damaged(settlement, orders_url, ledger_url)
        checked.append(CheckedInvariant(number=5, looked_at=compared, violations=(*book.of(5), *unsettled)))
    if deployment.broker_url is not None:
        progress("events", 0, 0)
        log = partial(_open_log, deployment.broker_url)
        streams = _streams(deployment)
        urls = (deployment.broker_url, *[stream.database_url for stream in streams])
        published, missing = await _unless_damaged(check_event_log(log, streams), *urls)
        checked.append(CheckedInvariant(number=6, looked_at=published, violations=tuple(missing)))
    if orders_url is not None:
        progress("numbers", 0, 0)
        counted, odd = await _unless_damaged(_check_numbers(ledger_url, orders_url, progress), ledger_url, orders_url)
        checked.append(CheckedInvariant(number=9, looked_at=counted, violations=tuple(odd)))
    return sorted(checked, key=lambda one: one.number)


def _streams(deployment: Deployment) -> tuple[Stream, ...]:
    wallets = Stream(
        database_url=deployment.book.database_url,
        name=stream_of(deployment.book.book_id),
        topic=WALLET_EVENTS_TOPIC,
        message_of=wallet_message_of,
    )
    if deployment.orders_url is None:
        return (wallets,)
    return (Stream(database_url=deployment.orders_url, name=ORDERS_STREAM, topic=ORDER_EVENTS_TOPIC), wallets)


def _open_log(url: str) -> EventLog:
    if url_parts(url, "broker").scheme == SCHEME:
        return KafkaEventLog(url)
    return SqliteEventLog(Path(sqlite_path(url, "broker")))


def _of_book(book: CheckedBook) -> list[CheckedInvariant]:
    """Tell what the ledger's own verification says of the invariants that it checks."""
    report, proof = book.report, book.proof
    if report is None or proof is None:
        looked_at = dict.fromkeys((1, 2, 3, 4, 7, 8), "the ledger can't be read")
        violations = {**dict.fromkeys(looked_at, ("could not be checked",)), **book.violations}
    else:
        currencies = ", ".join(total.currency for total in report.totals) or "no currency yet"
        looked_at = {
            1: f"{report.postings:,} postings in {currencies}",
            2: f"{report.accounts:,} accounts",
            3: f"{report.holds:,} holds, {report.holds_active:,} of them open",
            4: f"{report.keys:,} keys",
            7: f"{report.records:,} records, head {report.last_hash.hex()[:16]}, {proof.heads:,} signed heads",
            8: f"{report.wallets:,} wallets",
        }
        violations = dict(book.violations)
    return [
        CheckedInvariant(number=number, looked_at=text, violations=violations.get(number, ()))
        for number, text in looked_at.items()
    ]


async def _check_numbers(ledger_url: str, orders_url: str, progress: Progress) -> Finding:
    """Look at all numbers of both databases, and at whose tables they hold."""
    columns, odd = 0, []
    for name, url in (("ledger", ledger_url), ("orders", orders_url)):
        of_database, odd_in_database = await _odd_numbers_of(url, partial(progress, f"numbers of {name}"))
        columns += of_database
        odd += [f"{name}: {sentence}" for sentence in odd_in_database]
    shared = await _tables_of(ledger_url) & await _tables_of(orders_url) - PLUMBING_TABLES
    odd += [f"both databases have a table {table}" for table in sorted(shared)]
    return f"2 databases, {columns:,} columns of numbers", odd


async def _odd_numbers_of(url: str, progress: Callable[[int, int], None]) -> tuple[int, list[str]]:
    file = sqlite_file(url)
    if file is None:
        return await mysql_numbers.odd_numbers_of(url, progress, larger=TURNOVERS)
    return await sqlite_files.odd_numbers_of(file, larger=TURNOVERS)


async def _tables_of(url: str) -> set[str]:
    file = sqlite_file(url)
    return await (mysql_numbers.tables_of(url) if file is None else sqlite_files.tables_of(file))


async def _unless_damaged(check: Awaitable[Finding], *urls: str) -> Finding:
    """Turn what a damaged file makes of a check of these places into a finding.

    Raises:
        NotGrantedError: A database's user may not read what is checked, which says nothing of it.
        UnavailableError: A server can't be reached now, or doesn't answer in time, which says nothing of what it has.
    """
    try:
        return await check
    except NotGrantedError:
        raise
    except UnavailableError as error:
        if not any(map(sqlite_file, urls)):
            raise
        return "could not be read", [f"the check failed: {error.message}"]
    except TradeFlowError as error:
        return "could not be read", [f"the check failed: {error.message}"]
    except Exception as error:  # noqa: BLE001 - whatever damage makes of the reading, it is a finding and no crash
        return "could not be read", [f"the check failed: {error!r}"]

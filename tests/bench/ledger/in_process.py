"""(c) Our committer, called in process: commands made, decided, sealed, written and answered, durable each time."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from uuid_utils import uuid7

from services.ledger.commands.deposit import Deposit
from services.ledger.commands.transfer import Transfer, TransferLeg, WalletRef
from services.ledger.committer.committer import Committer, committing
from services.ledger.domain.receipt import Receipt
from services.ledger.wiring import MIGRATIONS
from services.money import Money
from services.runtime.database.migrations import migrate
from services.runtime.database_opening import open_database
from tests.bench.ledger.measuring import Measurement, Meter, Samples
from tests.bench.ledger.servers import Server
from tests.bench.ledger.workload import ACCOUNTS, FUNDS_MINOR, WORKLOADS, transfers, wallet_id

SCHEMA = "bench_ledger"

CURRENCY = "EUR"

SERVICE = "orders"
"""Whose keys they are."""

FEEDERS = 3
"""Callers of whole batches: one is under way, one is being built, one is gathering."""

BATCH_SIZES = (1024, 256)
"""Transfers of a commit."""

_WALLETS = [wallet_id(number) for number in range(ACCOUNTS)]


async def measure_in_process(server: Server, meter: Meter, results: list[Measurement], *, seconds: float) -> None:
    """Measure batches of each size on each workload, and then single calls on an idle committer."""
    await server.make_schema(SCHEMA)
    await fill_wallets(server, SCHEMA)
    for batch_size in BATCH_SIZES:
        for workload in WORKLOADS:
            await measure_batches(
                server, SCHEMA, meter, results, workload=workload, batch_size=batch_size, seconds=seconds
            )


async def fill_wallets(server: Server, schema: str) -> None:
    """Migrate, and give every wallet its funds."""
    database = open_database(server.url(schema))
    await migrate(database, MIGRATIONS)
    async with committing(database, book_id=1) as committer:
        deposits = [
            Deposit(
                service=SERVICE,
                idempotency_key=f"funds:{number}",
                wallet_id=wallet,
                amount=Money(FUNDS_MINOR, CURRENCY),
            )
            for number, wallet in enumerate(_WALLETS)
        ]
        for start in range(0, ACCOUNTS, BATCH_SIZES[0]):
            require_receipts(await committer.submit_many(deposits[start : start + BATCH_SIZES[0]]))
    await database.close()


async def measure_batches(
    server: Server,
    schema: str,
    meter: Meter,
    results: list[Measurement],
    *,
    workload: str,
    batch_size: int,
    seconds: float,
    piece: str = "committer",
) -> None:
    """Measure one size of batches on one workload, after a moment that fills caches."""
    database = open_database(server.url(schema))
    async with committing(
        database, book_id=1, batch_commands_max=batch_size, registry=CollectorRegistry()
    ) as committer:
        await _feed_all(committer, workload, batch_size, Samples(), min(1.0, seconds / 4))
        async with meter.measure(f"{piece}, batches of {batch_size:,}", workload, results) as samples:
            await _feed_all(committer, workload, batch_size, samples, seconds)
    await database.close()


async def _feed_all(committer: Committer, workload: str, batch_size: int, samples: Samples, seconds: float) -> None:
    feeders = [_feed(committer, workload, batch_size, seed, samples, seconds) for seed in range(FEEDERS)]
    await asyncio.gather(*feeders)


async def _feed(
    committer: Committer, workload: str, batch_size: int, seed: int, samples: Samples, seconds: float
) -> None:
    commands = commands_of(workload, seed)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        batch = [next(commands) for _ in range(batch_size)]
        began_at = time.perf_counter()
        require_receipts(await committer.submit_many(batch))
        samples.add(time.perf_counter() - began_at, batch_size)


def commands_of(workload: str, seed: int) -> Iterator[Transfer]:
    """Make commands, each with a new key as orders makes them: a UUIDv7."""
    for transfer in transfers(workload, seed):
        yield Transfer(
            service=SERVICE,
            idempotency_key=str(uuid7()),
            legs=(
                TransferLeg(WalletRef(_WALLETS[transfer.payer]), Money(-transfer.amount_minor, CURRENCY)),
                TransferLeg(WalletRef(_WALLETS[transfer.payee]), Money(transfer.amount_minor, CURRENCY)),
            ),
        )


def require_receipts(answers: Sequence[Receipt | Exception]) -> None:
    """Count only what was done.

    Raises:
        Exception: What was refused or failed.
    """
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer

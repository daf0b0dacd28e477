"""(a) The baseline: one transaction a transfer, as most ledgers do it.

Each of 32 connections locks the two accounts, checks the funds, and writes two entries, two balances and the key of the
request, each row by a statement, on the same server, driver and durability as ours. The tables are as small as the task
allows: no hashes, no events, no holds. It does less than our ledger, so it is a fast baseline. A second form merges the
statements where a careful author would: the entries in one, the balances in one.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

import aiomysql

from tests.bench.ledger.measuring import Measurement, Meter, Samples
from tests.bench.ledger.servers import Server
from tests.bench.ledger.workload import ACCOUNTS, FUNDS_MINOR, UNIFORM, WORKLOADS, Transfer, transfers

CONNECTIONS = 32
"""As the peers were measured with."""

SCHEMA = "bench_row_by_row"

TABLES = (
    """CREATE TABLE accounts (account_id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL,
        CHECK (balance >= 0))""",
    """CREATE TABLE entries (entry_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, transfer_id BINARY(16) NOT NULL,
        account_id BIGINT NOT NULL, amount BIGINT NOT NULL, balance_after BIGINT NOT NULL,
        KEY by_account (account_id, entry_id))""",
    """CREATE TABLE request_keys (request_key VARBINARY(128) NOT NULL PRIMARY KEY, transfer_id BINARY(16) NOT NULL,
        fingerprint BINARY(32) NOT NULL)""",
)

LOCK = "SELECT account_id, balance FROM accounts WHERE account_id IN (%s, %s) ORDER BY account_id FOR UPDATE"
ENTRY = "INSERT INTO entries (transfer_id, account_id, amount, balance_after) VALUES (%s, %s, %s, %s)"
ENTRIES = f"{ENTRY}, (%s, %s, %s, %s)"
BALANCE = "UPDATE accounts SET balance = %s WHERE account_id = %s"
BALANCES = "UPDATE accounts SET balance = CASE account_id WHEN %s THEN %s ELSE %s END WHERE account_id IN (%s, %s)"
KEY = "INSERT INTO request_keys (request_key, transfer_id, fingerprint) VALUES (%s, %s, %s)"


@dataclass(frozen=True, slots=True)
class Movement:
    """A transfer and the balances that it leaves."""

    transfer: Transfer
    transfer_id: bytes
    left: int
    grown: int


Write = Callable[[aiomysql.Cursor, Movement], Awaitable[None]]


async def measure_row_by_row(server: Server, meter: Meter, results: list[Measurement], *, seconds: float) -> None:
    """Measure it on all workloads, and one transaction after the other on one connection."""
    for piece, write in (("row by row, merged", _write_merged), ("row by row", _write_rows)):
        await server.make_schema(SCHEMA, TABLES)
        await _fill(server)
        for workload in WORKLOADS:
            async with meter.measure(piece, workload, results) as samples:
                workers = [_work(server, write, workload, seed, samples, seconds) for seed in range(CONNECTIONS)]
                await asyncio.gather(*workers)
    async with meter.measure("row by row, one caller", UNIFORM, results) as samples:
        await _work(server, _write_rows, UNIFORM, CONNECTIONS, samples, seconds / 2)


async def _fill(server: Server) -> None:
    rows = ",".join(f"({number},{FUNDS_MINOR})" for number in range(ACCOUNTS))
    async with server.cursor(SCHEMA) as cursor:
        await cursor.execute(f"INSERT INTO accounts VALUES {rows}")


async def _work(server: Server, write: Write, workload: str, seed: int, samples: Samples, seconds: float) -> None:
    source = transfers(workload, seed)
    async with server.cursor(SCHEMA) as cursor:
        await cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        until = time.perf_counter() + seconds
        while (began_at := time.perf_counter()) < until:
            await _transfer(cursor, write, next(source))
            samples.add(time.perf_counter() - began_at)


async def _transfer(cursor: aiomysql.Cursor, write: Write, transfer: Transfer) -> None:
    payer, payee, amount = transfer.payer, transfer.payee, transfer.amount_minor
    await cursor.execute("BEGIN")
    await cursor.execute(LOCK, (payer, payee))
    balances = dict(await cursor.fetchall())
    movement = Movement(transfer, uuid4().bytes, balances[payer] - amount, balances[payee] + amount)
    if movement.left < 0:
        raise RuntimeError("the workload ran dry")
    await write(cursor, movement)
    key = b"orders:" + movement.transfer_id.hex().encode()
    await cursor.execute(KEY, (key, movement.transfer_id, os.urandom(32)))
    await cursor.execute("COMMIT")


async def _write_rows(cursor: aiomysql.Cursor, movement: Movement) -> None:
    transfer, transfer_id = movement.transfer, movement.transfer_id
    await cursor.execute(ENTRY, (transfer_id, transfer.payer, -transfer.amount_minor, movement.left))
    await cursor.execute(ENTRY, (transfer_id, transfer.payee, transfer.amount_minor, movement.grown))
    await cursor.execute(BALANCE, (movement.left, transfer.payer))
    await cursor.execute(BALANCE, (movement.grown, transfer.payee))


async def _write_merged(cursor: aiomysql.Cursor, movement: Movement) -> None:
    transfer, transfer_id = movement.transfer, movement.transfer_id
    debit = (transfer_id, transfer.payer, -transfer.amount_minor, movement.left)
    credit = (transfer_id, transfer.payee, transfer.amount_minor, movement.grown)
    await cursor.execute(ENTRIES, debit + credit)
    await cursor.execute(BALANCES, (transfer.payer, movement.left, movement.grown, transfer.payer, transfer.payee))

"""The ledger as a process of its own: `python -m services.ledger`, its signals and its death."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc

from services.ledger.settings import LedgerSettings
from services.runtime.clock import SystemClock
from services.runtime.grpc_auth import call_metadata
from tests.support.issuer import Issuer, running_issuer
from tests.support.ledger import a_deposit, a_reserve, ledger_settings
from tests.support.verified_book import verified
from tests.support.waiting import eventually
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

if TYPE_CHECKING:
    from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub  # the type stubs' own name

CALLERS = 8
"""Enough that a batch is always under way."""

ANSWER_SECONDS_MAX = 120
"""How long a process may take to start, or to end, on a machine that has ten times the work that it can do."""


async def test_what_was_answered_before_a_kill_is_in_the_journal_and_the_book_is_clean(tmp_path: Path) -> None:
    wallet = uuid4()
    answered: dict[str, int] = {}
    async with running_issuer() as issuer:
        settings = ledger_settings(tmp_path, issuer)
        async with _process(settings) as (process, target):
            load = asyncio.create_task(_load(target, issuer, wallet, answered))
            await eventually(lambda: len(answered) > 100, seconds_max=60)
            process.kill()
            await asyncio.wait_for(load, 60)

        async with _process(settings) as (_, target), grpc.aio.insecure_channel(target) as channel:
            stub = LedgerServiceStub(channel)
            metadata = call_metadata(issuer.service_token())
            for key, sequence in answered.items():
                request = messages.DepositRequest(command=a_deposit(wallet, 1, key=key))
                receipt = (await stub.Deposit(request, metadata=metadata)).receipt
                assert (receipt.replayed, receipt.journal_sequence) == (True, sequence)
            report = await verified(settings.database_url)

    assert report.problems == ()
    assert report.records >= len(answered)


async def test_a_ledger_that_is_told_to_stop_answers_what_it_took_and_ends_well(tmp_path: Path) -> None:
    wallet = uuid4()
    answered: dict[str, int] = {}
    async with running_issuer() as issuer:
        settings = ledger_settings(tmp_path, issuer)
        async with _process(settings) as (process, target):
            load = asyncio.create_task(_load(target, issuer, wallet, answered))
            await eventually(lambda: len(answered) > 50, seconds_max=60)
            process.send_signal(signal.SIGTERM)
            code = await asyncio.wait_for(process.wait(), ANSWER_SECONDS_MAX)
            await asyncio.wait_for(load, 60)
        report = await verified(settings.database_url)

    assert code == 0
    assert report.problems == ()
    assert report.totals[0].wallets_minor >= len(answered)


async def test_a_ledger_without_settings_names_each_missing_one_and_ends(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.ledger", env=_environment({}), stdout=PIPE, stderr=PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), ANSWER_SECONDS_MAX)

    assert process.returncode == 2
    for name in ("DATABASE_URL", "BROKER_URL", "ISSUER", "JWKS_URL"):
        assert f"TRADEFLOW_LEDGER_{name} is missing" in said.decode()


async def test_a_database_that_is_not_supported_yet_is_refused_with_those_that_are(tmp_path: Path) -> None:
    variables = {
        "TRADEFLOW_LEDGER_DATABASE_URL": "postgresql://root:secret@db/ledger",
        "TRADEFLOW_LEDGER_BROKER_URL": f"sqlite:///{tmp_path}/broker.db",
        "TRADEFLOW_LEDGER_ISSUER": "https://issuer.test",
        "TRADEFLOW_LEDGER_JWKS_URL": "http://127.0.0.1:1/jwks.json",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.ledger", env=_environment(variables), stdout=PIPE, stderr=PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), ANSWER_SECONDS_MAX)

    assert process.returncode not in (0, None)
    assert "sqlite:////" in said.decode()
    assert "secret" not in said.decode()


@asynccontextmanager
async def _process(settings: LedgerSettings) -> AsyncIterator[tuple[Process, str]]:
    """Start a ledger and yield it with its gRPC target; kill it at the end if it still runs."""
    variables = {
        "TRADEFLOW_LEDGER_DATABASE_URL": settings.database_url,
        "TRADEFLOW_LEDGER_BROKER_URL": settings.broker_url,
        "TRADEFLOW_LEDGER_ISSUER": settings.issuer,
        "TRADEFLOW_LEDGER_JWKS_URL": settings.jwks_url,
        "TRADEFLOW_LEDGER_HTTP_PORT": "0",
        "TRADEFLOW_LEDGER_GRPC_PORT": "0",
        "TRADEFLOW_LEDGER_LOG_LEVEL": "WARNING",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.ledger", env=_environment(variables), stdout=PIPE
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), ANSWER_SECONDS_MAX)).decode()
        assert line.startswith("ledger: HTTP http://")
        yield process, line.rsplit(" ", 1)[1].strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _environment(variables: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRADEFLOW_")}
    return {**inherited, **variables}


async def _load(target: str, issuer: Issuer, wallet: UUID, answered: dict[str, int]) -> None:
    """Deposit one cent after the other, and hold some, until the ledger is gone."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = LedgerServiceStub(channel)
        await asyncio.gather(*(_call_until_gone(stub, issuer, wallet, answered) for _ in range(CALLERS)))


async def _call_until_gone(
    stub: "LedgerServiceAsyncStub", issuer: Issuer, wallet: UUID, answered: dict[str, int]
) -> None:
    metadata = call_metadata(issuer.service_token(), user_token=issuer.user_token(wallet))
    while True:
        key = str(uuid4())
        reserve = a_reserve(wallet, 1, hold_id=uuid4(), expires_at=SystemClock().now() + timedelta(minutes=15))
        try:
            answer = await stub.Deposit(
                messages.DepositRequest(command=a_deposit(wallet, 1, key=key)), metadata=metadata, timeout=10
            )
            answered[key] = answer.receipt.journal_sequence
            await stub.ReserveFunds(messages.ReserveFundsRequest(command=reserve), metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                raise
            return

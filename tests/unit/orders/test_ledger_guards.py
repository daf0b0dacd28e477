"""What keeps a ledger that is slow or gone from taking orders down with it, against a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from services.orders.outbound.ledger_calls import LEDGER_SERVICE, SERVICE_CONFIG, LedgerCalls
from services.orders.outbound.ledger_guards import LedgerGuards
from services.runtime.budget import spending
from services.runtime.clock import SystemClock
from services.runtime.errors import RefusedError, TradeFlowError, UnavailableError
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_errors import code_of
from services.runtime.grpc_server import serving_grpc
from services.runtime.service_tokens import ServiceTokens
from tests.support.issuer import running_issuer
from tests.support.waiting import eventually
from tradeflow.common.v1.problem_pb2 import Problem
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.commands_pb2 import Command, Outcome, Receipt
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceServicer, add_LedgerServiceServicer_to_server

NOBODY_LISTENS = "127.0.0.1:1"
LONG_SECONDS = 3_600.0


class MoodyLedger(LedgerServiceServicer):
    """Answers, fails, refuses, puts off or keeps callers waiting, as a test says; notes how long callers wait."""

    def __init__(self) -> None:
        self.failure: TradeFlowError | None = None
        self.outcome = Outcome(receipt=Receipt())
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.calls = 0
        self.seconds_left: list[float] = []
        self.left_alone = 0

    async def ExecuteBatch(self, request: messages.ExecuteBatchRequest, context: Any) -> messages.ExecuteBatchResponse:  # noqa: N802
        self.calls += 1
        self.seconds_left.append(context.time_remaining())
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.left_alone += 1
            raise
        if self.failure is not None:
            raise self.failure
        return messages.ExecuteBatchResponse(outcomes=[self.outcome for _ in request.commands])


def problem_of(error: TradeFlowError) -> Outcome:
    retryable = isinstance(error, UnavailableError)
    return Outcome(problem=Problem(reason=error.reason, retryable=retryable, code=code_of(error).value[0]))


@asynccontextmanager
async def calls_to(
    ledger: MoodyLedger, guards: LedgerGuards, *, deadline_seconds: float = 5.0, target: str = ""
) -> AsyncIterator[LedgerCalls]:
    def register(server: grpc.aio.Server) -> None:
        add_LedgerServiceServicer_to_server(ledger, server)

    async with (
        running_issuer() as issuer,
        serving_grpc("127.0.0.1", 0, register=register, service_names=[LEDGER_SERVICE]) as served,
        open_channel(target or served, service_config=SERVICE_CONFIG) as channel,
    ):
        tokens = ServiceTokens(issuer.token_url, "orders", "secret", SystemClock())
        yield LedgerCalls(channel, tokens, deadline_seconds=deadline_seconds, guards=guards)
        await tokens.aclose()


async def reason_of(calls: LedgerCalls) -> str:
    """Send a command and say what became of it."""
    try:
        await calls.execute(Command())
    except TradeFlowError as error:
        return error.reason
    return "done"


@pytest.fixture
def moody() -> MoodyLedger:
    return MoodyLedger()  # type: ignore[abstract]  # the other calls answer UNIMPLEMENTED


async def test_a_ledger_that_is_gone_is_left_alone(moody: MoodyLedger) -> None:
    guards = LedgerGuards.make(failures_max=2, open_seconds=LONG_SECONDS)
    async with calls_to(moody, guards, target=NOBODY_LISTENS) as calls:
        reasons = [await reason_of(calls) for _ in range(3)]

    assert reasons == ["unavailable", "unavailable", "ledger_unavailable"]


async def test_it_is_tried_again_after_a_while_and_trusted_when_it_answers(moody: MoodyLedger) -> None:
    guards = LedgerGuards.make(failures_max=1, open_seconds=0.05)
    async with calls_to(moody, guards) as calls:
        moody.failure = UnavailableError("Stopping.", reason="ledger_stopping")
        assert await reason_of(calls) == "ledger_stopping"
        moody.failure = None
        await eventually(lambda: guards.circuit.state == "half-opened")

        assert await reason_of(calls) == "done"
    assert guards.circuit.state == "closed"


@pytest.mark.parametrize(
    "failure",
    [
        RefusedError("No.", reason="insufficient_funds"),
        UnavailableError("Full.", reason="ledger_busy"),
        TradeFlowError("A bug.", reason="internal"),
    ],
)
async def test_a_ledger_that_answers_is_not_left_alone_whatever_it_says(
    moody: MoodyLedger, failure: TradeFlowError
) -> None:
    guards = LedgerGuards.make(failures_max=1, open_seconds=LONG_SECONDS)
    moody.failure = failure
    async with calls_to(moody, guards) as calls:
        await reason_of(calls)

    assert guards.circuit.state == "closed"


async def test_refusals_of_commands_do_not_count(moody: MoodyLedger) -> None:
    guards = LedgerGuards.make(failures_max=1, open_seconds=LONG_SECONDS)
    moody.outcome = problem_of(RefusedError("No.", reason="insufficient_funds"))
    async with calls_to(moody, guards) as calls:
        assert [await reason_of(calls) for _ in range(3)] == ["insufficient_funds"] * 3

    assert guards.circuit.state == "closed"


async def test_commands_that_are_put_off_again_and_again_count(moody: MoodyLedger) -> None:
    guards = LedgerGuards.make(failures_max=2, open_seconds=LONG_SECONDS)
    moody.outcome = problem_of(UnavailableError("Later.", reason="database_unreachable"))
    async with calls_to(moody, guards) as calls:
        reasons = [await reason_of(calls) for _ in range(3)]

    assert reasons == ["database_unreachable", "database_unreachable", "ledger_unavailable"]


async def test_deadlines_that_were_missed_count(moody: MoodyLedger) -> None:
    guards = LedgerGuards.make(failures_max=2, open_seconds=LONG_SECONDS)
    moody.may_answer.clear()
    async with calls_to(moody, guards, deadline_seconds=0.5) as calls:

        async def is_held_back() -> bool:
            reason = await reason_of(calls)
            assert reason in {"deadline_exceeded", "ledger_unavailable"}
            return reason == "ledger_unavailable"

        await eventually(is_held_back, seconds_max=30)

    assert moody.calls >= 2


async def test_the_haste_of_a_caller_does_not_count(moody: MoodyLedger) -> None:
    guards = LedgerGuards.make(failures_max=1, open_seconds=LONG_SECONDS)
    moody.may_answer.clear()
    async with calls_to(moody, guards, deadline_seconds=60) as calls:
        with spending(1.5):
            assert await reason_of(calls) == "deadline_exceeded"

    assert moody.calls == 1
    assert guards.circuit.state == "closed"


async def test_the_ledger_is_told_how_long_its_caller_waits_and_that_it_has_gone(moody: MoodyLedger) -> None:
    moody.may_answer.clear()
    async with calls_to(moody, LedgerGuards.make(), deadline_seconds=60) as calls:
        with spending(1.5):
            await reason_of(calls)
        await eventually(lambda: moody.left_alone == 1)

    assert 0 < moody.seconds_left[0] <= 1.5


async def test_for_a_caller_whose_time_is_over_the_ledger_is_not_asked(moody: MoodyLedger) -> None:
    async with calls_to(moody, LedgerGuards.make()) as calls:
        with spending(0):
            assert await reason_of(calls) == "deadline_exceeded"

    assert moody.calls == 0


async def test_a_slow_ledger_has_places_for_so_many_callers_and_the_others_are_told_at_once(moody: MoodyLedger) -> None:
    moody.may_answer.clear()
    async with calls_to(moody, LedgerGuards.make(calls_at_once_max=3)) as calls:
        waiting = [asyncio.create_task(reason_of(calls)) for _ in range(3)]
        await eventually(lambda: moody.calls > 0)

        assert await reason_of(calls) == "ledger_busy"
        moody.may_answer.set()
        assert await asyncio.gather(*waiting) == ["done"] * 3
        assert await reason_of(calls) == "done"

"""How orders calls the ledger: as itself, within a deadline, many commands in one call.

Commands of concurrent requests are gathered: those of one turn of the event loop go as one ExecuteBatch, each with its
own user's token and in its own trace. gRPC repeats what the network lost, and a command that the ledger had no time for
is sent again here; the keys make both safe.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc

from services.orders.outbound.ledger_guards import LedgerGuards, judge_of
from services.runtime.backoff import jittered_seconds
from services.runtime.budget import seconds_for_a_call
from services.runtime.errors import ForbiddenError, TradeFlowError, UnauthenticatedError, UnavailableError
from services.runtime.gathering import Gathering
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_errors import rebuilt_error, translating_errors
from services.runtime.grpc_leader import Leader, LeaderFirst
from services.runtime.service_tokens import ServiceTokens
from services.runtime.tracing import current_traceparent, traced_call
from tradeflow.common.v1.problem_pb2 import Problem
from tradeflow.ledger.v1.commands_pb2 import Command, Outcome, Receipt
from tradeflow.ledger.v1.ledger_service_pb2 import ExecuteBatchRequest, ExecuteBatchResponse
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

AUDIENCE: Final = "ledger"
"""Whom the service's tokens are for."""

LEDGER_SERVICE: Final = "tradeflow.ledger.v1.LedgerService"
"""The name that the retry policy is for."""

ATTEMPTS_MAX: Final = 4
"""How often a command is sent at most: by gRPC when the call was lost, by us when the ledger was busy with others."""

FIRST_BACKOFF_SECONDS: Final = 0.05
LONGEST_BACKOFF_SECONDS: Final = 0.5
"""How long to wait between attempts, with jitter."""

SERVICE_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [{"service": LEDGER_SERVICE}],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS_MAX,
                "initialBackoff": f"{FIRST_BACKOFF_SECONDS}s",
                "maxBackoff": f"{LONGEST_BACKOFF_SECONDS}s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}
"""Repeats what was lost, with jitter, within the call's deadline; when half of the calls fail, nothing is repeated."""

COMMANDS_OF_CALL_MAX: Final = 256
"""The most commands of one call: a call is answered when its last command is durable."""

Reply = TypeVar("Reply")


class LedgerCalls:
    """Calls the ledger over one channel."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        tokens: ServiceTokens,
        *,
        deadline_seconds: float,
        leading: grpc.aio.Channel | None = None,
        guards: LedgerGuards | None = None,
    ) -> None:
        """Speak over channels, which their owner closes.

        Args:
            channel: To all replicas of the ledger.
            tokens: Where the service's own tokens come from.
            deadline_seconds: How long a call may take with all its repetitions, where its caller has the time.
            leading: To the replica that commits soonest, which gets the commands; without, any of them does.
            guards: What stands before the calls.
        """
        self.stub = LedgerServiceStub(channel)
        self._execute_at: Callable[..., Awaitable[ExecuteBatchResponse]] = self.stub.ExecuteBatch
        if leading is not None:
            self._execute_at = LeaderFirst(
                Leader(leading), LedgerServiceStub(leading).ExecuteBatch, self.stub.ExecuteBatch
            )
        self._tokens = tokens
        self._deadline_seconds = deadline_seconds
        self._guards = guards or LedgerGuards.make()
        self._gathering: Gathering[Command, Outcome] = Gathering(self._execute_batch, items_max=COMMANDS_OF_CALL_MAX)

    def check_there(self) -> None:
        """Let those pass whose command would be sent now.

        Raises:
            UnavailableError: `ledger_unavailable`: the circuit is open.
        """
        self._guards.circuit.check()

    async def execute(self, command: Command) -> Receipt:
        """Run a command, together with those of others.

        Raises:
            UnauthenticatedError: The command's own user token isn't good any more.
            RejectedError: The ledger said no.
            UnavailableError: Nothing is known (`deadline_exceeded` and others); or the ledger wasn't asked, since it
                doesn't answer (`ledger_unavailable`), too many wait for it (`ledger_busy`) or the caller's time is over
                (`deadline_exceeded`); or it doesn't let this service in (`ledger_refuses_service`).
        """
        self.check_there()
        with traced_call(f"ledger {command.WhichOneof('command')}"), self._guards.bulkhead.place():
            command.traceparent = current_traceparent()
            return await self._execute(command, self._seconds_left())

    async def _execute(self, command: Command, timeout_seconds: float) -> Receipt:
        loop = asyncio.get_running_loop()
        deadline_at_seconds = loop.time() + timeout_seconds
        outcome = await self._gathering.ask(command, timeout_seconds=timeout_seconds)
        for attempt in range(ATTEMPTS_MAX - 1):
            pause_seconds = jittered_seconds(
                attempt, first_seconds=FIRST_BACKOFF_SECONDS, longest_seconds=LONGEST_BACKOFF_SECONDS
            )
            resumes_at_seconds = loop.time() + pause_seconds
            if not outcome.problem.retryable or resumes_at_seconds >= deadline_at_seconds:
                break
            await asyncio.sleep(pause_seconds)
            outcome = await self._gathering.ask(command, timeout_seconds=deadline_at_seconds - resumes_at_seconds)
        else:
            if outcome.problem.retryable:
                self._guards.circuit.note_failure()
        if outcome.HasField("receipt"):
            return outcome.receipt
        raise _error_of(outcome.problem)

    async def read(self, method: Callable[..., grpc.aio.UnaryUnaryCall[Any, Reply]], request: object) -> Reply:
        """Call a method that reads.

        Raises:
            RejectedError: The ledger said no.
            UnavailableError: As for `execute`.
        """
        with self._guards.bulkhead.place():
            return await self._call(method, request, self._seconds_left())

    def _seconds_left(self) -> float:
        seconds = seconds_for_a_call(self._deadline_seconds)
        if seconds <= 0:
            raise UnavailableError(
                "The caller's time was over before the ledger was asked.", reason="deadline_exceeded"
            )
        return seconds

    async def _execute_batch(self, commands: Sequence[Command], timeout_seconds: float) -> Sequence[Outcome]:
        request = ExecuteBatchRequest(commands=commands)
        return (await self._call(self._execute_at, request, timeout_seconds)).outcomes

    async def _call(self, method: Callable[..., Awaitable[Reply]], request: object, timeout_seconds: float) -> Reply:
        """Call; the kept token may be signed with a key that was withdrawn, so once more with a new one."""
        ends_at_seconds = asyncio.get_running_loop().time() + timeout_seconds
        try:
            try:
                return await self._call_once(method, request, ends_at_seconds)
            except UnauthenticatedError:
                self._tokens.forget(AUDIENCE)
            return await self._call_once(method, request, ends_at_seconds)
        except (UnauthenticatedError, ForbiddenError) as error:
            raise _not_let_in() from error

    async def _call_once(
        self, method: Callable[..., Awaitable[Reply]], request: object, ends_at_seconds: float
    ) -> Reply:
        metadata = call_metadata(await self._tokens.token_for(AUDIENCE))
        timeout_seconds = max(0.0, ends_at_seconds - asyncio.get_running_loop().time())

        async def call() -> Reply:
            with translating_errors():
                return await method(request, timeout=timeout_seconds, metadata=metadata)

        return await self._guards.circuit.run(call, judge_of(timeout_seconds, usual_seconds=self._deadline_seconds))


def _error_of(problem: Problem) -> TradeFlowError:
    """Rebuild what the ledger said of one command; that this service may not send it is nothing a caller can act on."""
    error = rebuilt_error(problem.code, problem.message, reason=problem.reason, details=problem.details)
    if isinstance(error, ForbiddenError):
        unavailable = _not_let_in()
        unavailable.__cause__ = error
        return unavailable
    return error


def _not_let_in() -> UnavailableError:
    return UnavailableError("The ledger doesn't accept this service.", reason="ledger_refuses_service")

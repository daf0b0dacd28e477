"""The replica that leads the book, as the others ask it: they hand on to it what they are told to do.

A replica that stands by could commit by itself, but more slowly, and each of its commits makes the leader's plans miss.
So commands that come one by one are gathered into calls, each under the token of whoever sent them: the leader lets
in whom it would let in itself, and a replica has no rights of its own. What was handed on is not handed on again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import grpc
from prometheus_client import CollectorRegistry, Counter

from services.runtime.errors import TradeFlowError
from services.runtime.gathering import Gathering
from services.runtime.grpc_auth import AUTHORIZATION
from services.runtime.grpc_errors import error_of
from services.runtime.grpc_leader import LOST_CODES, Leader
from tradeflow.ledger.v1.commands_pb2 import Command, Outcome
from tradeflow.ledger.v1.ledger_service_pb2 import ExecuteBatchRequest, ExecuteBatchResponse
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

HANDED_ON = "tradeflow-handed-on"
"""The name in a call's metadata that says that another replica hands it on."""

COMMANDS_OF_CALL_MAX = 256
"""The most commands of one gathered call: a call is answered when its last command is durable."""

CALLS_MAX = 2
"""Gathered calls under way at once: one is committed, and one waits for its turn there."""

ANSWER_SECONDS_MAX = 5.0
"""How long the leader may take, where the caller waits for longer: one that hangs is given up, as its lease is."""

LOST_REASONS = frozenset({"unavailable", "ledger_stopping"})
"""Why a leader that is gone, or on its way out, is unavailable."""

Metadata = tuple[tuple[str, str], ...]


class LeaderLostError(Exception):
    """The leader went away: what became of the commands isn't known, and their keys make a repetition safe."""


class _Sent(NamedTuple):
    """A command, and the `authorization` of the call that it came by."""

    command: Command
    authorization: str


class LeadingReplica:
    """Takes what a replica that stands by is told to do."""

    def __init__(
        self, channel: grpc.aio.Channel, stands_by: Callable[[], bool], registry: CollectorRegistry | None = None
    ) -> None:
        """Hand on over a channel of `grpc_leader`, which its owner closes, while this replica stands by."""
        self._leader = Leader(channel)
        self._stub = LedgerServiceStub(channel)
        self._stands_by = stands_by
        self._gathering: Gathering[_Sent, Outcome] = Gathering(
            self._execute_gathered, items_max=COMMANDS_OF_CALL_MAX, calls_max=CALLS_MAX
        )
        self._handed_on = Counter(
            "tradeflow_ledger_commands_handed_on",
            "Commands that this replica handed on to the leader: answered, or lost with it and then done here",
            ("outcome",),
            registry=registry,
        )

    @property
    def is_known(self) -> bool:
        """Tell whether another replica leads, and can be called."""
        return self._stands_by() and self._leader.is_known

    async def execute(self, command: Command, authorization: str, *, timeout_seconds: float) -> Outcome:
        """Hand on one command, together with those of other calls.

        Raises:
            LeaderLostError: Do it here.
            TradeFlowError: As the leader's ExecuteBatch.
        """
        return await self._gathering.ask(_Sent(command, authorization), timeout_seconds=timeout_seconds)

    async def execute_batch(
        self, request: ExecuteBatchRequest, metadata: Metadata, *, timeout_seconds: float
    ) -> ExecuteBatchResponse:
        """Hand on a batch.

        Raises:
            LeaderLostError: Do it here.
            TradeFlowError: As the leader's ExecuteBatch.
        """
        try:
            response = await self._stub.ExecuteBatch(
                request, timeout=min(timeout_seconds, ANSWER_SECONDS_MAX), metadata=(*metadata, (HANDED_ON, "1"))
            )
        except grpc.aio.AioRpcError as rpc_error:
            self._leader.note_failure(rpc_error)
            if _is_lost(rpc_error):
                self._handed_on.labels("lost").inc(len(request.commands))
                raise LeaderLostError from rpc_error
            raise error_of(rpc_error) from rpc_error
        self._handed_on.labels("answered").inc(len(request.commands))
        return response

    async def _execute_gathered(self, sent: Sequence[_Sent], timeout_seconds: float) -> Sequence[Outcome | Exception]:
        """Make a call for each token: a service has one, which it renews now and then."""
        if not self.is_known:
            raise LeaderLostError  # while they waited
        tokens = dict.fromkeys(authorization for _, authorization in sent)
        answers = await asyncio.gather(
            *[
                self._execute_of([command for command, its in sent if its == token], token, timeout_seconds)
                for token in tokens
            ]
        )
        following = dict(zip(tokens, map(iter, answers), strict=True))
        return [next(following[authorization]) for _, authorization in sent]

    async def _execute_of(
        self, commands: Sequence[Command], authorization: str, timeout_seconds: float
    ) -> Sequence[Outcome | Exception]:
        try:
            response = await self.execute_batch(
                ExecuteBatchRequest(commands=commands),
                ((AUTHORIZATION, authorization),),
                timeout_seconds=timeout_seconds,
            )
        except (LeaderLostError, TradeFlowError) as error:
            return [error] * len(commands)
        return response.outcomes


def _is_lost(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether the leader is gone, hangs, or is on its way out: anything else is its answer."""
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return True
    return error.code() in LOST_CODES and error_of(error).reason in LOST_REASONS

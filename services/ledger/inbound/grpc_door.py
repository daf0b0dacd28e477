"""What all calls of the ledger's gRPC door have in common: who calls, and how long the call may take."""

import asyncio
from types import TracebackType
from typing import Any

import grpc

from services.ledger.inbound.authorisation import Caller, caller_of, for_user
from services.ledger.inbound.doorway import Doorway
from services.ledger.outbound.leading_replica import HANDED_ON, LeadingReplica
from services.runtime.errors import UnavailableError
from services.runtime.grpc_auth import callers_of
from services.runtime.grpc_surroundings import metadata_value
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceServicer

CALL_SECONDS_MAX = 30.0
"""How long a call may take that has no deadline of its own, or a later one."""

Context = grpc.aio.ServicerContext[Any, Any]


class GrpcDoor(LedgerServiceServicer):
    """Knows callers and deadlines; each kind of calls is a subclass."""

    def __init__(self, doorway: Doorway) -> None:
        """Lead to the committer and the book."""
        self._doorway = doorway

    async def caller(self, context: Context) -> Caller:
        """Tell who calls, and for whom.

        Raises:
            UnauthenticatedError: A token is missing or isn't good.
            ForbiddenError: A token is of another kind than it should be.
        """
        return caller_of(*await callers_of(context, self._doorway.verifier))

    async def caller_for(self, caller: Caller, user_token: str) -> Caller:
        """Tell for whom one command is that has a user's token of its own.

        Raises:
            UnauthenticatedError: The token isn't good.
            ForbiddenError: It isn't a user's.
        """
        return for_user(caller, await self._doorway.verifier.verify(user_token))

    def leader_for(self, context: Context) -> LeadingReplica | None:
        """Tell who is to do what a call asks for; None where this replica is, as for what another one handed on."""
        leader = self._doorway.leader
        if leader is None or not leader.is_known or metadata_value(context, HANDED_ON) is not None:
            return None
        return leader


class Bounded:
    """Ends what takes too long: at the caller's deadline, which gRPC itself keeps, or at ours if that is earlier.

    Used as `async with Bounded(context):`.

    What the committer has begun goes on when the wait for it ends: the same key gets the answer later.

    Raises:
        UnavailableError: `timed_out`: ours was over.
    """

    __slots__ = ("_ours",)

    def __init__(self, context: Context) -> None:
        """Look whether the caller's own deadline is near enough."""
        remaining = _time_remaining(context)
        needs_ours = remaining is None or remaining > CALL_SECONDS_MAX
        self._ours = asyncio.timeout(CALL_SECONDS_MAX) if needs_ours else None

    async def __aenter__(self) -> None:
        """Begin."""
        if self._ours is not None:
            await self._ours.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End, or tell that it took too long."""
        if self._ours is None:
            return
        try:
            await self._ours.__aexit__(kind, error, traceback)
        except TimeoutError as timeout:
            raise UnavailableError(
                "The call took too long; ask again with the same key.", reason="timed_out"
            ) from timeout


def seconds_left(context: Context) -> float:
    """Tell how long the caller still waits."""
    remaining = _time_remaining(context)
    return CALL_SECONDS_MAX if remaining is None else min(remaining, CALL_SECONDS_MAX)


def _time_remaining(context: Context) -> float | None:
    """Tell the seconds to the caller's deadline; the type stubs don't know that there may be none."""
    remaining: float | None = context.time_remaining()
    return remaining

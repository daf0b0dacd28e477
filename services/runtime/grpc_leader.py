"""Calls to the one of several replicas that does them best, and to any of them where none is known to lead.

A replica says that it leads through gRPC's health service, under a name of its own. A channel that asks for that name
sends calls to the leader alone, and is not ready while there is none; any other channel spreads calls over all of them.

Source: https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md
"""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import grpc

AVOIDED_SECONDS = 5.0
"""How long a leader isn't asked that let a call run out: by then another replica leads, if this one hangs."""

LOST_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""How calls end whose server goes away: those that were under way when its patience ended are cancelled."""

Reply = TypeVar("Reply")

Method = Callable[..., grpc.aio.UnaryUnaryCall[Any, Reply]]
"""A stub's method."""


def leader_of(service_name: str) -> str:
    """Name what the health service says of the replica that leads."""
    return f"{service_name}.leader"


def to_leader(service_name: str) -> dict[str, Any]:
    """Make the configuration of a channel whose calls go to the leader alone.

    It repeats none: a leader that was lost would be waited for, while others could be asked.
    """
    return {"healthCheckConfig": {"serviceName": leader_of(service_name)}}


class Leader:
    """The replica that leads, as far as a channel of `to_leader` knows one."""

    def __init__(self, leading: grpc.aio.Channel) -> None:
        """Look at that channel, which its owner closes."""
        self._leading = leading
        self._avoided_until_seconds = 0.0

    @property
    def is_known(self) -> bool:
        """Tell whether a leader is connected and answers; a channel on its way there would keep a call waiting."""
        is_ready = self._leading.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY
        return is_ready and asyncio.get_running_loop().time() >= self._avoided_until_seconds

    def note_failure(self, error: grpc.aio.AioRpcError) -> None:
        """Ask no more for a while if it let a call run out."""
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._avoided_until_seconds = asyncio.get_running_loop().time() + AVOIDED_SECONDS


class LeaderFirst(Generic[Reply]):
    """One method of a service, called at its leader, or at any replica."""

    def __init__(self, leader: Leader, at_leader: "Method[Reply]", at_any: "Method[Reply]") -> None:
        """Call `at_leader`, a method over the leader's channel, while there is one; else `at_any`."""
        self._leader = leader
        self._at_leader = at_leader
        self._at_any = at_any

    async def __call__(self, request: object, *, timeout: float, metadata: Any) -> Reply:  # noqa: ASYNC109 - as gRPC's
        """Call once, or twice where the leader was lost or can't now: what is called needs a key.

        Raises:
            grpc.aio.AioRpcError: As the method does.
        """
        loop = asyncio.get_running_loop()
        ends_at_seconds = loop.time() + timeout
        if self._leader.is_known:
            try:
                return await self._at_leader(request, timeout=timeout, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                self._leader.note_failure(error)
                if error.code() not in LOST_CODES:
                    raise
        return await self._at_any(request, timeout=max(0.0, ends_at_seconds - loop.time()), metadata=metadata)

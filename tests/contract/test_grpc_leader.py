"""Two replicas of a service, one of which leads, as a client of theirs sees it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from services.runtime.errors import RefusedError, TradeFlowError, UnavailableError
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_errors import translating_errors
from services.runtime.grpc_leader import Leader, LeaderFirst, to_leader
from services.runtime.grpc_server import serving_grpc
from services.runtime.health import Health
from tests.support.waiting import eventually

SERVICE = "test.Book"
WRITE = f"/{SERVICE}/Write"
CALL_SECONDS_MAX = 10.0
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Replica:
    """A server that counts its calls, and does with each what a test says."""

    name: bytes
    leads: bool = False
    calls: int = 0
    failure: Exception | None = None
    ends_with: grpc.StatusCode | None = None
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    def is_leader(self) -> bool:
        return self.leads

    async def write(self, _request: bytes, context: Context) -> bytes:
        self.calls += 1
        await self.answers.wait()
        if self.ends_with is not None:
            await context.abort(self.ends_with)
        if self.failure is not None:
            raise self.failure
        return self.name

    def register(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {"Write": grpc.unary_unary_rpc_method_handler(self.write)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two replicas behind one name."""

    first: Replica
    second: Replica
    call: Callable[..., Any]
    leading: grpc.aio.Channel
    stop_first: Callable[[], Any]

    async def who(self) -> bytes:
        """Tell who answers a call."""
        answer: bytes = await self.call(b"", timeout=CALL_SECONDS_MAX, metadata=())
        return answer

    async def until_answered_by(self, *replicas: Replica) -> None:
        """Wait until these replicas answer, and no other."""

        async def seen() -> bool:
            return {await self.who() for _ in range(6)} == {replica.name for replica in replicas}

        await eventually(seen)


@asynccontextmanager
async def a_pair(*, leads: bool = True) -> AsyncIterator[Pair]:
    first, second = Replica(b"first", leads=leads), Replica(b"second")
    async with AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(AsyncExitStack()) for _ in range(2)]
        targets = [
            await life.enter_async_context(
                serving_grpc(
                    "127.0.0.1",
                    0,
                    register=replica.register,
                    service_names=[SERVICE],
                    health=Health(),
                    leads=replica.is_leader,
                )
            )
            for life, replica in zip(lives, (first, second), strict=True)
        ]
        target = f"ipv4:{','.join(targets)}"
        everyone = await stack.enter_async_context(open_channel(target))
        leading = await stack.enter_async_context(open_channel(target, service_config=to_leader(SERVICE)))
        call: LeaderFirst[bytes] = LeaderFirst(Leader(leading), leading.unary_unary(WRITE), everyone.unary_unary(WRITE))
        yield Pair(first=first, second=second, call=call, leading=leading, stop_first=lives[0].aclose)


async def test_calls_go_to_the_replica_that_leads() -> None:
    async with a_pair() as pair:
        await pair.until_answered_by(pair.first)

        pair.first.leads, pair.second.leads = False, True

        await pair.until_answered_by(pair.second)


async def test_calls_go_to_any_replica_where_none_leads() -> None:
    async with a_pair(leads=False) as pair:
        await pair.until_answered_by(pair.first, pair.second)


async def test_a_server_that_knows_of_no_leaders_is_called_too() -> None:
    replica = Replica(b"older")
    async with (
        serving_grpc("127.0.0.1", 0, register=replica.register, service_names=[SERVICE]) as target,
        open_channel(target) as everyone,
        open_channel(target, service_config=to_leader(SERVICE)) as leading,
    ):
        call: LeaderFirst[bytes] = LeaderFirst(Leader(leading), leading.unary_unary(WRITE), everyone.unary_unary(WRITE))
        assert [await call(b"", timeout=CALL_SECONDS_MAX, metadata=()) for _ in range(3)] == [b"older"] * 3


async def test_a_call_whose_leader_ends_is_made_again_elsewhere() -> None:
    async with a_pair() as pair:
        await pair.until_answered_by(pair.first)
        pair.first.answers.clear()
        waiting = asyncio.create_task(pair.who())
        await eventually(lambda: pair.first.calls > 6)

        stopping = asyncio.create_task(pair.stop_first())

        assert await waiting == b"second"
        await stopping
        assert await pair.who() == b"second"


@pytest.mark.parametrize(
    ("failure", "answered"),
    [(UnavailableError("Too much to do.", reason="busy_here"), b"second"), (RefusedError("No."), None)],
)
async def test_what_the_leader_cannot_do_now_is_asked_of_another_and_what_it_refuses_is_not(
    failure: TradeFlowError, answered: bytes | None
) -> None:
    async with a_pair() as pair:
        await pair.until_answered_by(pair.first)
        asked_before = pair.second.calls
        pair.first.failure = failure

        if answered is None:
            with pytest.raises(RefusedError), translating_errors():
                await pair.who()
            assert pair.second.calls == asked_before
        else:
            await eventually(lambda: _is_answered(pair, answered))


async def test_a_call_that_a_leader_cancels_as_its_server_ends_is_made_again_elsewhere() -> None:
    async with a_pair() as pair:
        await pair.until_answered_by(pair.first)

        pair.first.ends_with = grpc.StatusCode.CANCELLED

        await eventually(lambda: _is_answered(pair, b"second"))


async def _is_answered(pair: Pair, answer: bytes) -> bool:
    """Tell whether a call is answered so; one that every replica was unavailable for isn't."""
    try:
        with translating_errors():
            return await pair.who() == answer
    except UnavailableError:
        return False


async def test_a_leader_that_lets_a_call_run_out_is_not_asked_for_a_while() -> None:
    async with a_pair() as pair:
        await pair.until_answered_by(pair.first)
        pair.first.answers.clear()
        with pytest.raises(UnavailableError), translating_errors():
            await pair.call(b"", timeout=0.1, metadata=())
        pair.first.answers.set()

        await pair.until_answered_by(pair.first, pair.second)

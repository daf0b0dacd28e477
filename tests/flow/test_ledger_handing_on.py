"""Two replicas of the ledger, and a client that calls the one which stands by: the leader does what it asks."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import grpc
import pytest
from prometheus_client import CollectorRegistry

from services.ledger.outbound.leading_replica import HANDED_ON
from services.ledger.wiring import running
from services.runtime.grpc_errors import error_of
from tests.parts.server import Server
from tests.parts.sql_servers import fresh_schema
from tests.support.ledger import LedgerWorld, a_deposit, a_reserve, ledger_settings, ledger_world
from tests.support.waiting import eventually
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub

if TYPE_CHECKING:
    from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceAsyncStub  # the type stubs' own name


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A leader, the replica that stands by, and what that one counts."""

    leader: LedgerWorld
    standby: "LedgerServiceAsyncStub"
    registry: CollectorRegistry
    leader_stays: AsyncExitStack

    def handed_on(self, outcome: str = "answered") -> float:
        """Count the commands that the standby handed on."""
        return self._sample("tradeflow_ledger_commands_handed_on_total", outcome=outcome)

    def committed(self) -> float:
        """Count the commands that the standby committed itself."""
        return self._sample("tradeflow_ledger_commands_total", outcome="accepted")

    def _sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    async def deposit(self, wallet: UUID, amount_minor: int, *more: tuple[str, str], key: str = "") -> Any:
        """Bring money in, by the standby."""
        request = messages.DepositRequest(command=a_deposit(wallet, amount_minor, key=key))
        return await self.standby.Deposit(request, metadata=(*self.leader.orders(), *more))

    async def hands_on(self) -> bool:
        """Make a call, and tell whether the standby knows the leader by now."""
        before = self.handed_on()
        await self.deposit(uuid4(), 1)
        return self.handed_on() > before


@asynccontextmanager
async def a_pair(folder: Path, database_url: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as leader_stays:
        leader = await leader_stays.enter_async_context(ledger_world(folder, database_url=database_url))
        settings = ledger_settings(folder, leader.issuer).model_copy(
            update={"database_url": database_url, "replicas_grpc_target": f"ipv4:{leader.ledger.grpc_target}"}
        )
        registry = CollectorRegistry()
        async with (
            running(settings, registry=registry) as standby,
            grpc.aio.insecure_channel(standby.grpc_target) as channel,
        ):
            pair = Pair(leader=leader, standby=LedgerServiceStub(channel), registry=registry, leader_stays=leader_stays)
            await eventually(pair.hands_on)
            yield pair


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.ci)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    server: Server = request.getfixturevalue("mysql_server")
    with fresh_schema(server.url) as url:
        yield url


@pytest.fixture
async def pair(tmp_path: Path, database_url: str) -> AsyncIterator[Pair]:
    async with a_pair(tmp_path, database_url) as running:
        yield running


def reserve(wallet: UUID, amount_minor: int, late: datetime) -> commands_pb2.Command:
    return commands_pb2.Command(reserve_funds=a_reserve(wallet, amount_minor, hold_id=uuid4(), expires_at=late))


async def stream_of(wallet: UUID, *, count: int) -> AsyncIterator[messages.ExecuteStreamRequest]:
    for number in range(count):
        command = commands_pb2.Command(deposit=a_deposit(wallet, 1))
        yield messages.ExecuteStreamRequest(commands=[messages.NumberedCommand(number=number, command=command)])


async def test_what_the_standby_is_told_to_do_the_leader_does(pair: Pair) -> None:
    committed, handed_on = pair.committed(), pair.handed_on()
    wallet, late = uuid4(), pair.leader.in_seconds(60)

    receipts = [(await pair.deposit(wallet, 100)).receipt for _ in range(3)]
    holds = await pair.standby.ExecuteBatch(
        messages.ExecuteBatchRequest(commands=[reserve(wallet, 10, late), reserve(wallet, 10, late)]),
        metadata=pair.leader.orders(wallet),
    )
    streamed = pair.standby.ExecuteStream(stream_of(wallet, count=5), metadata=pair.leader.orders())
    numbers = [outcome.number async for answer in streamed for outcome in answer.outcomes]

    assert len({receipt.journal_sequence for receipt in receipts}) == 3
    assert [outcome.WhichOneof("outcome") for outcome in holds.outcomes] == ["receipt", "receipt"]
    assert sorted(numbers) == list(range(5))
    balance = await pair.leader.balance(wallet)
    assert (balance.posted_minor, balance.pending_outgoing_minor) == (305, 20)
    assert pair.handed_on() == handed_on + 10
    assert pair.committed() == committed


async def test_calls_at_once_go_together_each_for_its_own_user(pair: Pair) -> None:
    users = [uuid4() for _ in range(20)]
    await asyncio.gather(*[pair.deposit(user, 50) for user in users])
    strangers = dict(zip(users, [*users[1:], users[0]], strict=True))
    late = pair.leader.in_seconds(60)

    async def reserved(user: UUID, of: UUID) -> str:
        request = messages.ReserveFundsRequest(command=a_reserve(of, 10, hold_id=uuid4(), expires_at=late))
        try:
            return str((await pair.standby.ReserveFunds(request, metadata=pair.leader.orders(user))).receipt.replayed)
        except grpc.aio.AioRpcError as error:
            return error_of(error).reason

    own = await asyncio.gather(*[reserved(user, user) for user in users])
    others = await asyncio.gather(*[reserved(user, of) for user, of in strangers.items()])

    assert set(own) == {"False"}
    assert set(others) == {"not_wallet_owner"}
    assert {(await pair.leader.balance(user)).pending_outgoing_minor for user in users} == {10}


@pytest.mark.parametrize(
    ("amount_minor", "hold_id", "reason"),
    [
        (10, "no-id", "id_malformed"),
        (0, str(UUID(int=1)), "invalid_amount"),
        (10, str(UUID(int=2)), "account_not_open"),
    ],
)
async def test_a_refusal_is_the_leaders_to_the_letter(pair: Pair, amount_minor: int, hold_id: str, reason: str) -> None:
    wallet = uuid4()
    command = a_reserve(wallet, 10, hold_id=uuid4(), expires_at=pair.leader.in_seconds(60))
    command.hold_id, command.amount.amount_minor = hold_id, amount_minor
    request = messages.ReserveFundsRequest(command=command)

    refusals = []
    for stub in (pair.standby, pair.leader.stub):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ReserveFunds(request, metadata=pair.leader.orders(wallet))
        refusals.append((refused.value.code(), error_of(refused.value)))

    (code, by_standby), (leaders_code, by_leader) = refusals
    assert by_leader.reason == reason
    assert (code, str(by_standby), by_standby.details) == (leaders_code, str(by_leader), by_leader.details)
    assert type(by_standby) is type(by_leader)


async def test_a_token_that_is_not_good_is_refused_by_the_standby_itself(pair: Pair) -> None:
    handed_on = pair.handed_on()

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await pair.standby.Deposit(
            messages.DepositRequest(command=a_deposit(uuid4(), 1)), metadata=(("authorization", "Bearer forged"),)
        )

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert pair.handed_on() == handed_on


async def test_what_was_handed_on_is_not_handed_on_again(pair: Pair) -> None:
    committed, handed_on = pair.committed(), pair.handed_on()

    await pair.deposit(uuid4(), 1, (HANDED_ON, "1"))

    assert (pair.committed(), pair.handed_on()) == (committed + 1, handed_on)


async def test_when_the_leader_goes_the_standby_does_it_and_nothing_twice(pair: Pair) -> None:
    wallet, keys = uuid4(), [f"deposit-{number}" for number in range(60)]
    calling = [asyncio.create_task(deposited(pair, wallet, key)) for key in keys]
    await eventually(lambda: any(task.done() for task in calling))

    stopping = asyncio.create_task(pair.leader_stays.aclose())
    await asyncio.gather(*calling)
    await asyncio.gather(*[deposited(pair, wallet, key) for key in keys])
    await stopping

    request = messages.GetBalanceRequest(wallet_id=str(wallet), currency="EUR")
    balance = (await pair.standby.GetBalance(request, metadata=pair.leader.orders())).balance
    assert balance.posted_minor == len(keys)


async def deposited(pair: Pair, wallet: UUID, key: str) -> None:
    """Bring one in, and again with the same key while the ledger says to come back."""
    for _ in range(100):
        try:
            await pair.deposit(wallet, 1, key=key)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.05)
        else:
            return
    pytest.fail(f"{key} was never answered")

"""Commands as a stream: answered as they are durable, bounded, and not undone by who leaves."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from services.ledger.wiring import running
from services.runtime.grpc_auth import call_metadata
from services.runtime.grpc_errors import error_of
from tests.support.issuer import running_issuer
from tests.support.ledger import LedgerWorld, a_deposit, a_reserve, ledger_settings, ledger_world
from tests.support.waiting import eventually
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceStub


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    async with ledger_world(tmp_path) as running:
        yield running


def deposits(wallet: UUID, numbers: Iterable[int]) -> messages.ExecuteStreamRequest:
    return messages.ExecuteStreamRequest(
        commands=[
            messages.NumberedCommand(
                number=number, command=commands_pb2.Command(deposit=a_deposit(wallet, 1, key=f"deposit-{number}"))
            )
            for number in numbers
        ]
    )


async def next_of(call: Any) -> list[messages.NumberedOutcome]:
    """Read one response; nothing at the end."""
    response = await call.read()
    return [] if response is grpc.aio.EOF else list(response.outcomes)


async def rest_of(call: Any, into: list[int] | None = None) -> list[messages.NumberedOutcome]:
    """Read to the end; numbers go `into` a list as they come, which stays when the stream ends with an error."""
    outcomes: list[messages.NumberedOutcome] = []
    while following := await next_of(call):
        outcomes += following
        if into is not None:
            into += [outcome.number for outcome in following]
    return outcomes


async def test_each_command_gets_its_outcome_by_its_number(world: LedgerWorld) -> None:
    wallet, late = uuid4(), world.in_seconds(60)
    call = world.stub.ExecuteStream(metadata=world.orders(wallet))

    await call.write(deposits(wallet, range(700)))
    await call.write(deposits(wallet, range(700, 1_400)))
    too_much = a_reserve(wallet, 10_000, hold_id=uuid4(), expires_at=late)
    await call.write(
        messages.ExecuteStreamRequest(
            commands=[
                messages.NumberedCommand(number=7_000, command=commands_pb2.Command(reserve_funds=too_much)),
                messages.NumberedCommand(number=7_001),
            ]
        )
    )
    await call.done_writing()
    outcomes = {outcome.number: outcome.outcome for outcome in await rest_of(call)}

    assert sorted(outcomes) == [*range(1_400), 7_000, 7_001]
    assert outcomes[7_000].problem.reason == "insufficient_funds"
    assert outcomes[7_000].problem.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert outcomes[7_001].problem.reason == "command_missing"
    sequences = [outcomes[number].receipt.journal_sequence for number in range(1_400)]
    assert sequences == sorted(set(sequences))
    assert (await world.balance(wallet)).posted_minor == 1_400


async def test_an_outcome_comes_while_the_stream_stays_open(world: LedgerWorld) -> None:
    wallet = uuid4()
    call = world.stub.ExecuteStream(metadata=world.orders())

    await call.write(deposits(wallet, [1]))
    first = await next_of(call)
    posted = (await world.balance(wallet)).posted_minor
    await call.write(deposits(wallet, [2]))
    second = await next_of(call)
    await call.done_writing()

    assert [outcome.number for outcome in [*first, *second]] == [1, 2]
    assert posted == 1
    assert await rest_of(call) == []


async def test_a_client_that_leaves_takes_nothing_back_that_was_read(world: LedgerWorld) -> None:
    wallet = uuid4()
    call = world.stub.ExecuteStream(metadata=world.orders())
    await call.write(deposits(wallet, [1]))
    await next_of(call)
    await call.write(deposits(wallet, range(2, 802)))
    await next_of(call)

    call.cancel()

    async def all_of_the_message_is_done() -> bool:
        return (await world.balance(wallet)).posted_minor == 801

    await eventually(all_of_the_message_is_done)
    assert (await world.verify()).problems == ()


async def test_a_message_out_of_bounds_ends_the_stream_after_the_outcomes_of_those_before_it(
    world: LedgerWorld,
) -> None:
    wallet = uuid4()
    call = world.stub.ExecuteStream(metadata=world.orders())
    await call.write(deposits(wallet, [1, 2]))
    await call.write(messages.ExecuteStreamRequest())

    numbers: list[int] = []
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rest_of(call, into=numbers)

    assert sorted(numbers) == [1, 2]
    assert error_of(ended.value).reason == "batch_size_malformed"


async def test_each_command_is_for_the_user_of_its_own_token(world: LedgerWorld) -> None:
    rich, stranger = uuid4(), uuid4()
    await world.deposit(rich, 100)
    late = world.in_seconds(60)
    commands = [
        commands_pb2.Command(reserve_funds=a_reserve(rich, 1, hold_id=uuid4(), expires_at=late), user_token=token)
        for token in (world.issuer.user_token(rich), world.issuer.user_token(stranger), "nonsense", "")
    ]
    request = messages.ExecuteStreamRequest(
        commands=[messages.NumberedCommand(number=n, command=command) for n, command in enumerate(commands)]
    )
    call = world.stub.ExecuteStream(metadata=world.orders())

    await call.write(request)
    await call.done_writing()
    outcomes = {outcome.number: outcome.outcome.problem.reason for outcome in await rest_of(call)}

    assert outcomes == {0: "", 1: "not_wallet_owner", 2: "token_malformed", 3: "user_token_required"}


async def test_a_stream_ends_with_its_token(world: LedgerWorld) -> None:
    wallet = uuid4()
    expired = int((world.clock.now() - timedelta(minutes=5)).timestamp())
    token = world.issuer.service_token("orders", exp=expired)
    call = world.stub.ExecuteStream(metadata=call_metadata(token))

    await call.write(deposits(wallet, [1]))
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rest_of(call)

    assert error_of(ended.value).reason == "token_expired"
    assert (await world.balance(wallet)).posted_minor == 0


async def test_a_stream_ends_at_once_when_the_ledger_stops_and_what_was_read_is_answered(tmp_path: Path) -> None:
    wallet = uuid4()
    numbers: list[int] = []
    async with running_issuer() as issuer, AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(running(ledger_settings(tmp_path, issuer)))
        async with grpc.aio.insecure_channel(ledger.grpc_target) as channel:
            call = LedgerServiceStub(channel).ExecuteStream(metadata=call_metadata(issuer.service_token()))
            await call.write(deposits(wallet, range(3)))
            while len(numbers) < 3:
                numbers += [outcome.number for outcome in await next_of(call)]

            await stack.aclose()
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await rest_of(call)

    assert numbers == [0, 1, 2]
    assert error_of(ended.value).reason == "ledger_stopping"

"""Callers of the service's gRPC door: one by one, through the client that orders has, in batches, and by a stream.

What they send is made before the clock starts, and what they are told is read once it has stopped: in life other
machines do that, and here it would take more of the cores than the database does. What a call itself costs its caller
stays in the figures.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from itertools import chain, count, islice

import grpc

from services.orders.outbound.ledger_calls import LedgerCalls
from services.runtime.ids import new_id
from tests.bench.ledger.in_process import CURRENCY
from tests.bench.ledger.measuring import Samples
from tests.bench.ledger.workload import ACCOUNTS, transfers, wallet_id
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.ledger.v1 import commands_pb2, ledger_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages

UNARY_CALLERS = 64
"""Callers at once, each with one call under way."""

BATCH_COMMANDS = 256
"""Commands of an ExecuteBatch."""

BATCH_CALLERS = 8
"""Callers of batches at once: two thousand commands under way."""

STREAMS = 2
"""Streams at once, each from one client."""

STREAM_MESSAGE_COMMANDS = 32
"""Commands that a stream's client puts into one message."""

STREAM_IN_FLIGHT = 1024
"""Commands of a stream that wait for their outcome."""

COMMANDS_PER_SECOND_MAX = 16_000
"""For how many commands a second the callers are prepared. Were the ledger faster, they would make the rest as they go:
that costs it speed, and nothing else."""

SERVICE = f"/{messages.DESCRIPTOR.services_by_name['LedgerService'].full_name}"

_WALLETS = [str(wallet_id(number)) for number in range(ACCOUNTS)]

Metadata = tuple[tuple[str, str], ...]

Requests = Iterator[bytes]
"""What one caller sends, as it goes over the wire."""


@dataclass(frozen=True, slots=True)
class Door:
    """The service's door, and who calls; `client` gathers what its callers ask at once."""

    channel: grpc.aio.Channel
    metadata: Metadata
    client: LedgerCalls


@dataclass(frozen=True, slots=True)
class Way:
    """A way of calling."""

    piece: str
    callers: int
    commands_of_request: int
    requests: Callable[[str, int], Requests]
    """What a caller sends of a workload, for a seed."""
    call: Callable[[Door, Requests, Samples, float], Coroutine[None, None, None]]
    """Sends it for some seconds, and counts what was done."""
    require_receipts: Callable[[bytes], None]
    """Reads an answer.

    Raises:
        RuntimeError: The ledger did not do its part.
    """

    def prepared(self, workload: str, seconds: float) -> list[Requests]:
        """Make what each caller will send."""
        commands = COMMANDS_PER_SECOND_MAX * seconds / self.callers
        requests = [self.requests(workload, seed) for seed in range(self.callers)]
        return [chain(list(islice(some, int(commands / self.commands_of_request) + 1)), some) for some in requests]


def _transfers(workload: str, seed: int) -> Iterator[commands_pb2.Transfer]:
    for transfer in transfers(workload, seed):
        amount = transfer.amount_minor
        yield commands_pb2.Transfer(
            idempotency_key=str(new_id()),
            legs=[
                ledger_pb2.TransferLeg(
                    wallet_id=_WALLETS[transfer.payer], amount=Money(amount_minor=-amount, currency=CURRENCY)
                ),
                ledger_pb2.TransferLeg(
                    wallet_id=_WALLETS[transfer.payee], amount=Money(amount_minor=amount, currency=CURRENCY)
                ),
            ],
        )


def _single_requests(workload: str, seed: int) -> Requests:
    for transfer in _transfers(workload, seed):
        yield messages.TransferRequest(command=transfer).SerializeToString()


def _commands(workload: str, seed: int) -> Requests:
    for transfer in _transfers(workload, seed):
        yield commands_pb2.Command(transfer=transfer).SerializeToString()


def _batch_requests(workload: str, seed: int) -> Requests:
    source = _transfers(workload, seed)
    while True:
        commands = [commands_pb2.Command(transfer=transfer) for transfer in islice(source, BATCH_COMMANDS)]
        yield messages.ExecuteBatchRequest(commands=commands).SerializeToString()


def _stream_requests(workload: str, seed: int) -> Requests:
    numbered = zip(count(1), _transfers(workload, seed), strict=False)
    while True:
        commands = [
            messages.NumberedCommand(number=number, command=commands_pb2.Command(transfer=transfer))
            for number, transfer in islice(numbered, STREAM_MESSAGE_COMMANDS)
        ]
        yield messages.ExecuteStreamRequest(commands=commands).SerializeToString()


async def _call_one_by_one(door: Door, requests: Requests, samples: Samples, seconds: float) -> None:
    transfer: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = door.channel.unary_unary(f"{SERVICE}/Transfer")
    until = time.perf_counter() + seconds
    while (began_at := time.perf_counter()) < until:
        samples.answers.append(await transfer(next(requests), metadata=door.metadata))
        samples.add(time.perf_counter() - began_at)


async def _call_through_client(door: Door, requests: Requests, samples: Samples, seconds: float) -> None:
    until = time.perf_counter() + seconds
    while (began_at := time.perf_counter()) < until:
        await door.client.execute(commands_pb2.Command.FromString(next(requests)))
        samples.add(time.perf_counter() - began_at)


async def _call_in_batches(door: Door, requests: Requests, samples: Samples, seconds: float) -> None:
    execute: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = door.channel.unary_unary(f"{SERVICE}/ExecuteBatch")
    until = time.perf_counter() + seconds
    while (began_at := time.perf_counter()) < until:
        samples.answers.append(await execute(next(requests), metadata=door.metadata))
        samples.add(time.perf_counter() - began_at, BATCH_COMMANDS)


async def _stream(door: Door, requests: Requests, samples: Samples, seconds: float) -> None:
    """Keep a bounded number of commands under way, and note each message's time to the outcome of its first command."""
    execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = door.channel.stream_stream(f"{SERVICE}/ExecuteStream")
    until = time.perf_counter() + seconds
    free = asyncio.Semaphore(STREAM_IN_FLIGHT // STREAM_MESSAGE_COMMANDS)
    sent_at: dict[int, float] = {}

    async def sent() -> AsyncIterator[bytes]:
        for first_number in count(1, STREAM_MESSAGE_COMMANDS):
            if time.perf_counter() >= until:
                return
            await free.acquire()
            sent_at[first_number] = time.perf_counter()
            yield next(requests)

    async for answer in execute(sent(), metadata=door.metadata):
        samples.answers.append(answer)
        for numbered in messages.ExecuteStreamResponse.FromString(answer).outcomes:
            if (began_at := sent_at.pop(numbered.number, None)) is not None:
                samples.add(time.perf_counter() - began_at, STREAM_MESSAGE_COMMANDS)
                free.release()


def _require_none(_answered: bytes) -> None:
    raise RuntimeError("the client reads what it is answered itself, and raises what isn't done")


def _require_receipt(answered: bytes) -> None:
    _require(messages.TransferResponse.FromString(answered))


def _require_receipts(answered: bytes) -> None:
    for outcome in messages.ExecuteBatchResponse.FromString(answered).outcomes:
        _require(outcome)


def _require_streamed_receipts(answered: bytes) -> None:
    for numbered in messages.ExecuteStreamResponse.FromString(answered).outcomes:
        _require(numbered.outcome)


def _require(answer: messages.TransferResponse | commands_pb2.Outcome) -> None:
    if not answer.HasField("receipt"):
        raise RuntimeError(f"the ledger did not do its part: {answer}")


ONE_CALLER = Way("gRPC unary, one caller", 1, 1, _single_requests, _call_one_by_one, _require_receipt)
SINGLE_CALLS = Way("gRPC unary, 64 callers", UNARY_CALLERS, 1, _single_requests, _call_one_by_one, _require_receipt)
THROUGH_CLIENT = Way("gRPC client, 64 callers", UNARY_CALLERS, 1, _commands, _call_through_client, _require_none)
TWO_REPLICAS = replace(THROUGH_CLIENT, piece="gRPC client, two replicas")
STREAM = Way("gRPC stream", STREAMS, STREAM_MESSAGE_COMMANDS, _stream_requests, _stream, _require_streamed_receipts)
BATCHES = Way(
    "gRPC batches of 256", BATCH_CALLERS, BATCH_COMMANDS, _batch_requests, _call_in_batches, _require_receipts
)
BATCHES_OF_TWO = replace(BATCHES, piece="gRPC batches, two replicas")

"""The gRPC door's stream of commands: read with back-pressure, answered as they are durable.

One task reads and checks; the handler writes; between them is a lane that bounds what is under way. Cancelling the
stream ends the reading, and what was read goes on.
"""
# ruff: noqa: N802 - the contract names the methods

import asyncio
from collections.abc import AsyncIterator, Sequence

from services.ledger.domain.receipt import Receipt
from services.ledger.inbound.command_lane import CommandLane
from services.ledger.inbound.doorway import Doorway
from services.ledger.inbound.grpc_batch import BatchedCommands, Checked, check_batch_size
from services.ledger.inbound.grpc_door import Context
from services.ledger.inbound.outcome_messages import write_outcome
from services.runtime.errors import InvalidArgumentError, TradeFlowError, UnavailableError
from tradeflow.ledger.v1 import ledger_service_pb2 as messages_pb2


class StreamedCommands(BatchedCommands):
    """Answers streams of commands."""

    def __init__(self, doorway: Doorway) -> None:
        """Lead to the committer; streams live until their clients or `end_streams` end them."""
        super().__init__(doorway)
        self._readers: set[asyncio.Task[None]] = set()

    async def ExecuteStream(
        self, request_iterator: AsyncIterator[messages_pb2.ExecuteStreamRequest], context: Context
    ) -> AsyncIterator[messages_pb2.ExecuteStreamResponse]:
        """Run commands as they come."""
        lane = CommandLane(self._run)
        reader = asyncio.create_task(self._read(request_iterator, context, lane), name="command-stream")
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        try:
            async for done in lane.outcomes():
                response = messages_pb2.ExecuteStreamResponse()
                for number, outcome in done:
                    write_outcome(response.outcomes.add(number=number).outcome, outcome)
                yield response
            await _raise_what_ended(reader)
        finally:
            reader.cancel()

    def end_streams(self) -> None:
        """Read no more of any stream; each ends as unavailable once the outcomes of what was read are out."""
        for reader in self._readers:
            reader.cancel()

    async def _read(
        self, requests: AsyncIterator[messages_pb2.ExecuteStreamRequest], context: Context, lane: CommandLane
    ) -> None:
        try:
            await self.caller(context)
            async for request in requests:
                # A stream may outlive its token: each message is judged by what the token is worth then.
                caller = await self.caller(context)
                check_batch_size(len(request.commands))
                await lane.room_for(len(request.commands))
                numbers = [_number_of(numbered) for numbered in request.commands]
                checked = await self.check_items((numbered.command for numbered in request.commands), caller)
                lane.enter(list(zip(numbers, checked, strict=True)))
        finally:
            lane.close()

    async def _run(self, checked: Sequence[Checked]) -> list[Receipt | TradeFlowError]:
        return await self.run_checked(checked, timeout_seconds=None)


async def _raise_what_ended(reader: asyncio.Task[None]) -> None:
    """Raise why reading ended, unless the client had no more.

    Raises:
        TradeFlowError: A message or the token was refused, or the ledger stops (`ledger_stopping`).
    """
    await asyncio.wait({reader})
    if reader.cancelled():
        raise UnavailableError("The ledger is stopping.", reason="ledger_stopping")
    reader.result()


def _number_of(numbered: messages_pb2.NumberedCommand) -> int:
    if numbered.number < 0:
        raise InvalidArgumentError(
            "Numbers of commands are not negative.", reason="number_malformed", details={"field": "commands.number"}
        )
    return numbered.number

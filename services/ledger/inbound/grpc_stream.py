"""The gRPC door's stream of commands: read with back-pressure, answered as they are durable.

One task reads and checks; the handler writes; between them is a lane that bounds what is under way. Cancelling the
stream ends the reading, and what was read goes on.
"""
# ruff: noqa: N802 - the contract names the methods

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from services.ledger.inbound.command_lane import CommandLane
from services.ledger.inbound.doorway import Doorway
from services.ledger.inbound.grpc_batch import BatchedCommands, check_batch_size
from services.ledger.inbound.grpc_door import Context
from services.ledger.inbound.handing_on import response_of
from services.ledger.inbound.outcome_messages import Answered, write_outcome
from services.runtime.errors import InvalidArgumentError, UnavailableError
from tradeflow.ledger.v1 import commands_pb2
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
        lane = CommandLane(partial(self._run, context))
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
                await self.caller(context)
                check_batch_size(len(request.commands))
                await lane.room_for(len(request.commands))
                numbers = [_number_of(numbered) for numbered in request.commands]
                lane.enter(list(zip(numbers, (numbered.command for numbered in request.commands), strict=True)))
        finally:
            lane.close()

    async def _run(self, context: Context, commands: Sequence[commands_pb2.Command]) -> Sequence[Answered]:
        leader = self.leader_for(context)
        if leader is not None:
            request = messages_pb2.ExecuteBatchRequest(commands=commands)
            handed_on = await response_of(request, context, leader)
            if handed_on is not None:
                return handed_on.outcomes
        checked = await self.check_items(commands, await self.caller(context))
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

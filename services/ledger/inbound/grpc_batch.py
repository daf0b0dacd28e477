"""The gRPC door's calls of many commands: each item is parsed and authorised by itself."""
# ruff: noqa: N802 - the contract names the methods

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from services.ledger.commands.command import Command
from services.ledger.domain.receipt import Receipt
from services.ledger.inbound.authorisation import Caller, check_may_command
from services.ledger.inbound.command_messages import Call, batched_message, command_of
from services.ledger.inbound.command_spans import recorded_commands
from services.ledger.inbound.grpc_door import Bounded, Context, GrpcDoor, seconds_left
from services.ledger.inbound.handing_on import response_of
from services.ledger.inbound.outcome_messages import write_outcome
from services.runtime.errors import InvalidArgumentError, TradeFlowError
from services.runtime.tracing import current_traceparent
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages_pb2

COMMANDS_OF_BATCH_MAX = 1024
"""As the committer's own batches: a longer call would only wait in the queue."""

Checked = Command | TradeFlowError
"""A command that may go to the committer, or the refusal that is its outcome already."""


class BatchedCommands(GrpcDoor):
    """Answers calls of many commands."""

    async def ExecuteBatch(
        self, request: messages_pb2.ExecuteBatchRequest, context: Context
    ) -> messages_pb2.ExecuteBatchResponse:
        """Run many commands in their order, each for the user of its own token or of the call's."""
        async with Bounded(context):
            caller = await self.caller(context)
            check_batch_size(len(request.commands))
            leader = self.leader_for(context)
            handed_on = None if leader is None else await response_of(request, context, leader)
            if handed_on is not None:
                return handed_on
            with recorded_commands(request.commands) as outcomes:
                checked = await self.check_items(request.commands, caller)
                outcomes.extend(await self.run_checked(checked, timeout_seconds=seconds_left(context)))
        response = messages_pb2.ExecuteBatchResponse()
        for outcome in outcomes:
            write_outcome(response.outcomes.add(), outcome)
        return response

    async def check_items(self, items: Iterable[commands_pb2.Command], caller: Caller) -> list[Checked]:
        """Make a command of each item, or the refusal that becomes its outcome."""
        call = Call(
            service=caller.service,
            traceparent=current_traceparent(),
            shortfall_to_receivable=self._doorway.shortfall_to_receivable,
        )
        checked: list[Checked] = []
        for item in items:
            try:
                command = command_of(batched_message(item), _call_of(item, call))
                user_token = item.user_token
                check_may_command(await self.caller_for(caller, user_token) if user_token else caller, command)
            except TradeFlowError as refusal:
                checked.append(refusal)
            else:
                checked.append(command)
        return checked

    async def run_checked(
        self, checked: Sequence[Checked], *, timeout_seconds: float | None
    ) -> list[Receipt | TradeFlowError]:
        """Give the committer what passed, and put the answers where the others have their refusals."""
        commands = [command for command in checked if not isinstance(command, TradeFlowError)]
        if not commands:
            return [item for item in checked if isinstance(item, TradeFlowError)]
        answers = await self._doorway.committer.submit_many(commands, timeout_seconds=timeout_seconds)
        if len(commands) == len(checked):
            return answers
        following = iter(answers)
        return [item if isinstance(item, TradeFlowError) else next(following) for item in checked]


def _call_of(item: commands_pb2.Command, call: Call) -> Call:
    return replace(call, traceparent=item.traceparent) if item.traceparent else call


def check_batch_size(size: int) -> None:
    """Refuse a message without commands, or with too many.

    Raises:
        InvalidArgumentError: `batch_size_malformed`.
    """
    if not 1 <= size <= COMMANDS_OF_BATCH_MAX:
        raise InvalidArgumentError(
            f"A batch has 1 to {COMMANDS_OF_BATCH_MAX} commands.",
            reason="batch_size_malformed",
            details={"field": "commands"},
        )

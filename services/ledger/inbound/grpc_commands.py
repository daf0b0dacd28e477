"""The gRPC door's unary commands: each is parsed, authorised, and given to the committer.

Order of checks: token → shape → may this caller do this. What the command's own guards say comes after that.
"""
# ruff: noqa: N802 - the contract names the methods

from services.ledger.inbound.authorisation import Caller, check_may_command
from services.ledger.inbound.command_messages import Call, CommandMessage, command_of
from services.ledger.inbound.grpc_door import Bounded, Context, GrpcDoor, seconds_left
from services.ledger.inbound.handing_on import receipt_of
from services.ledger.inbound.outcome_messages import receipt_message
from services.runtime.tracing import current_traceparent
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages_pb2


class UnaryCommands(GrpcDoor):
    """Answers the calls that are one command each."""

    async def OpenAccount(
        self, request: messages_pb2.OpenAccountRequest, context: Context
    ) -> messages_pb2.OpenAccountResponse:
        """Open an account."""
        return messages_pb2.OpenAccountResponse(receipt=await self._execute(request.command, context))

    async def Deposit(self, request: messages_pb2.DepositRequest, context: Context) -> messages_pb2.DepositResponse:
        """Bring money in."""
        return messages_pb2.DepositResponse(receipt=await self._execute(request.command, context))

    async def Withdraw(self, request: messages_pb2.WithdrawRequest, context: Context) -> messages_pb2.WithdrawResponse:
        """Take money out: the treasury's business, or the wallet's own user's."""
        return messages_pb2.WithdrawResponse(receipt=await self._execute(request.command, context))

    async def Transfer(self, request: messages_pb2.TransferRequest, context: Context) -> messages_pb2.TransferResponse:
        """Move money between accounts."""
        return messages_pb2.TransferResponse(receipt=await self._execute(request.command, context))

    async def SetLimit(self, request: messages_pb2.SetLimitRequest, context: Context) -> messages_pb2.SetLimitResponse:
        """Say how far below zero an account may go."""
        return messages_pb2.SetLimitResponse(receipt=await self._execute(request.command, context))

    async def ReverseRecord(
        self, request: messages_pb2.ReverseRecordRequest, context: Context
    ) -> messages_pb2.ReverseRecordResponse:
        """Undo a record by a new one."""
        return messages_pb2.ReverseRecordResponse(receipt=await self._execute(request.command, context))

    async def ReserveFunds(
        self, request: messages_pb2.ReserveFundsRequest, context: Context
    ) -> messages_pb2.ReserveFundsResponse:
        """Set a user's money aside; the user's own token must come along."""
        return messages_pb2.ReserveFundsResponse(receipt=await self._execute(request.command, context))

    async def CommitHold(
        self, request: messages_pb2.CommitHoldRequest, context: Context
    ) -> messages_pb2.CommitHoldResponse:
        """Make a hold permanent."""
        return messages_pb2.CommitHoldResponse(receipt=await self._execute(request.command, context))

    async def CaptureFunds(
        self, request: messages_pb2.CaptureFundsRequest, context: Context
    ) -> messages_pb2.CaptureFundsResponse:
        """Pay sellers from a hold."""
        return messages_pb2.CaptureFundsResponse(receipt=await self._execute(request.command, context))

    async def VoidHold(self, request: messages_pb2.VoidHoldRequest, context: Context) -> messages_pb2.VoidHoldResponse:
        """Release a hold."""
        return messages_pb2.VoidHoldResponse(receipt=await self._execute(request.command, context))

    async def RefundCapture(
        self, request: messages_pb2.RefundCaptureRequest, context: Context
    ) -> messages_pb2.RefundCaptureResponse:
        """Give captured money back."""
        return messages_pb2.RefundCaptureResponse(receipt=await self._execute(request.command, context))

    async def _execute(self, message: CommandMessage, context: Context) -> commands_pb2.Receipt:
        async with Bounded(context):
            caller = await self.caller(context)
            leader = self.leader_for(context)
            handed_on = None if leader is None else await receipt_of(message, context, leader)
            if handed_on is not None:
                return handed_on
            command = command_of(message, self._call(caller))
            check_may_command(caller, command)
            receipt = await self._doorway.committer.submit(command, timeout_seconds=seconds_left(context))
            return receipt_message(receipt)

    def _call(self, caller: Caller) -> Call:
        return Call(
            service=caller.service,
            traceparent=current_traceparent(),
            shortfall_to_receivable=self._doorway.shortfall_to_receivable,
        )

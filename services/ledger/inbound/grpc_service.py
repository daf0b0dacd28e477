"""The ledger's gRPC door: each call is parsed, authorised, and given to the committer or a query.

Order of checks: token → shape → may this caller do this. What the command's own guards say comes after that.
"""
# ruff: noqa: N802 - the contract names the methods

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from services.ledger.commands.command import Command
from services.ledger.inbound import fields
from services.ledger.inbound.authorisation import (
    Caller,
    caller_of,
    check_may_command,
    check_may_read_wallet,
)
from services.ledger.inbound.messages import (
    Call,
    CommandMessage,
    batched_message,
    command_of,
    outcome_message,
    receipt_message,
    statement_line_message,
)
from services.ledger.outbound.wallet_messages import balance_message, hold_message, timestamp_message
from services.ledger.ports import Submitter
from services.ledger.queries.balance import wallet_account
from services.ledger.queries.book import Book
from services.ledger.queries.hold import hold_by_id
from services.ledger.queries.statement import statement_page
from services.ledger.queries.wallet_events import wallet_events_after
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError, TradeFlowError, UnavailableError
from services.runtime.grpc_auth import principal_of, user_of
from services.runtime.jwt import TokenVerifier
from services.runtime.tracing import current_traceparent
from tradeflow.events.v1 import wallet_event_pb2
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1 import ledger_service_pb2 as messages_pb2
from tradeflow.ledger.v1.ledger_service_pb2_grpc import LedgerServiceServicer

COMMANDS_OF_BATCH_MAX = 1024
"""As the committer's own batches: a longer call would only wait in the queue."""

PAGE_SIZE_DEFAULT = 100
PAGE_SIZE_MAX = 1000
"""Bounds one answer to about 1 MiB."""

CALL_SECONDS_MAX = 30.0
"""How long a call may take that has no deadline of its own, or a later one."""

Context = grpc.aio.ServicerContext[Any, Any]


class LedgerGrpcService(LedgerServiceServicer):
    """Answers the calls of ledger_service.proto."""

    def __init__(self, *, committer: Submitter, book: Book, verifier: TokenVerifier, clock: Clock) -> None:
        """Write through the committer, read the book."""
        self._committer = committer
        self._book = book
        self._verifier = verifier
        self._clock = clock

    async def OpenAccount(
        self, request: messages_pb2.OpenAccountRequest, context: Context
    ) -> messages_pb2.OpenAccountResponse:
        """Open an account."""
        return messages_pb2.OpenAccountResponse(receipt=await self._execute(request.command, context))

    async def Deposit(self, request: messages_pb2.DepositRequest, context: Context) -> messages_pb2.DepositResponse:
        """Bring money in."""
        return messages_pb2.DepositResponse(receipt=await self._execute(request.command, context))

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

    async def ExecuteBatch(
        self, request: messages_pb2.ExecuteBatchRequest, context: Context
    ) -> messages_pb2.ExecuteBatchResponse:
        """Run many commands in their order; reserves in it are of the one user whose token comes along."""
        async with self._called(context) as caller:
            if not 1 <= len(request.commands) <= COMMANDS_OF_BATCH_MAX:
                raise InvalidArgumentError(
                    f"A batch has 1 to {COMMANDS_OF_BATCH_MAX} commands.", reason="batch_size_malformed"
                )
            checked = [_checked_item(item, caller) for item in request.commands]
            commands = [command for command in checked if not isinstance(command, TradeFlowError)]
            answers = iter(await self._committer.submit_many(commands))
        outcomes = [item if isinstance(item, TradeFlowError) else next(answers) for item in checked]
        return messages_pb2.ExecuteBatchResponse(outcomes=[outcome_message(outcome) for outcome in outcomes])

    async def GetBalance(
        self, request: messages_pb2.GetBalanceRequest, context: Context
    ) -> messages_pb2.GetBalanceResponse:
        """Read a balance."""
        async with self._called(context) as caller:
            wallet_id = fields.id_of(request.wallet_id, "wallet_id")
            currency = fields.currency_of(request.currency)
            check_may_read_wallet(caller, wallet_id)
            account = await wallet_account(self._book, wallet_id, currency)
        return messages_pb2.GetBalanceResponse(balance=balance_message(account))

    async def GetHold(self, request: messages_pb2.GetHoldRequest, context: Context) -> messages_pb2.GetHoldResponse:
        """Read a hold."""
        async with self._called(context):
            hold = await hold_by_id(self._book, fields.id_of(request.hold_id, "hold_id"))
        return messages_pb2.GetHoldResponse(hold=hold_message(hold))

    async def ListStatement(
        self, request: messages_pb2.ListStatementRequest, context: Context
    ) -> messages_pb2.ListStatementResponse:
        """Read a page of postings."""
        async with self._called(context) as caller:
            wallet_id = fields.id_of(request.wallet_id, "wallet_id")
            check_may_read_wallet(caller, wallet_id)
            page = await statement_page(
                self._book,
                wallet_id,
                fields.currency_of(request.currency),
                after_account_sequence=fields.sequence_of(request.after_account_sequence, "after_account_sequence"),
                lines_max=_page_size(request.page_size),
            )
        return messages_pb2.ListStatementResponse(
            lines=[statement_line_message(line, request.currency) for line in page.lines],
            next_after_account_sequence=page.next_after_account_sequence,
        )

    async def ListWalletEvents(
        self, request: messages_pb2.ListWalletEventsRequest, context: Context
    ) -> messages_pb2.ListWalletEventsResponse:
        """Read the events after a sequence."""
        async with self._called(context) as caller:
            wallet_id = fields.id_of(request.wallet_id, "wallet_id")
            check_may_read_wallet(caller, wallet_id)
            page = await wallet_events_after(
                self._book,
                wallet_id,
                after_sequence=fields.sequence_of(request.after_sequence, "after_sequence"),
                events_max=_page_size(request.page_size),
            )
        return messages_pb2.ListWalletEventsResponse(
            events=[wallet_event_pb2.WalletEvent.FromString(payload) for payload in page.payloads],
            last_sequence=page.last_sequence,
            reload_required=page.reload_required,
            read_at=timestamp_message(self._clock.now()),
        )

    async def _execute(self, message: CommandMessage, context: Context) -> commands_pb2.Receipt:
        async with self._called(context) as caller:
            command = command_of(message, _call(caller))
            check_may_command(caller, command)
            return receipt_message(await self._committer.submit(command))

    @asynccontextmanager
    async def _called(self, context: Context) -> AsyncIterator[Caller]:
        """Let a caller in, and bound the call by ours; gRPC itself ends it at the caller's deadline.

        What the committer has taken goes on when the wait for it ends: the same key gets the answer later.
        """
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                service = await principal_of(context, self._verifier)
                yield caller_of(service, await user_of(context, self._verifier))
        except TimeoutError as error:
            raise UnavailableError(
                "The call took too long; ask again with the same key.", reason="timed_out"
            ) from error


def _call(caller: Caller) -> Call:
    return Call(service=caller.service, traceparent=current_traceparent())


def _checked_item(item: commands_pb2.Command, caller: Caller) -> Command | TradeFlowError:
    """Make a command of a batch's item, or the refusal that becomes its outcome."""
    try:
        command = command_of(batched_message(item), _call(caller))
        check_may_command(caller, command)
    except TradeFlowError as refusal:
        return refusal
    return command


def _page_size(asked: int) -> int:
    return fields.page_size_of(asked, default=PAGE_SIZE_DEFAULT, most=PAGE_SIZE_MAX)

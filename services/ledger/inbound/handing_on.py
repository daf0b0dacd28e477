"""Calls that a replica which stands by hands on to the leader: they look like its own, and so do the answers."""

from collections.abc import Mapping
from typing import Any

from services.ledger.inbound.command_messages import CommandMessage
from services.ledger.inbound.grpc_door import Context, seconds_left
from services.ledger.outbound.leading_replica import LeaderLostError, LeadingReplica, Metadata
from services.runtime.errors import TradeFlowError
from services.runtime.grpc_auth import AUTHORIZATION, USER_AUTHORIZATION
from services.runtime.grpc_errors import rebuilt_error
from services.runtime.grpc_surroundings import metadata_value
from services.runtime.jwt import bearer_token
from services.runtime.tracing import HEADER, current_traceparent
from tradeflow.common.v1.problem_pb2 import Problem
from tradeflow.ledger.v1 import commands_pb2
from tradeflow.ledger.v1.ledger_service_pb2 import ExecuteBatchRequest, ExecuteBatchResponse

_NAMES: Mapping[str, str] = {
    command.message_type.full_name: command.name
    for command in commands_pb2.Command.DESCRIPTOR.oneofs_by_name["command"].fields
    if command.message_type is not None
}
"""How a batch's item calls each command."""


async def receipt_of(message: CommandMessage, context: Context, leader: LeadingReplica) -> commands_pb2.Receipt | None:
    """Hand on one command; None where the leader was lost, and this replica is to do it.

    Raises:
        TradeFlowError: As the leader's.
    """
    user_authorization = metadata_value(context, USER_AUTHORIZATION)
    item: dict[str, Any] = {_NAMES[message.DESCRIPTOR.full_name]: message}
    command = commands_pb2.Command(
        user_token="" if user_authorization is None else bearer_token(user_authorization),
        traceparent=current_traceparent(),
        **item,
    )
    authorization = metadata_value(context, AUTHORIZATION) or ""
    try:
        outcome = await leader.execute(command, authorization, timeout_seconds=seconds_left(context))
    except LeaderLostError:
        return None
    if outcome.HasField("problem"):
        raise _error_of(outcome.problem)
    return outcome.receipt


async def response_of(
    request: ExecuteBatchRequest, context: Context, leader: LeadingReplica
) -> ExecuteBatchResponse | None:
    """Hand on many commands; None where the leader was lost, and this replica is to do them.

    Raises:
        TradeFlowError: As the leader's.
    """
    try:
        return await leader.execute_batch(request, _metadata(context), timeout_seconds=seconds_left(context))
    except LeaderLostError:
        return None


def _metadata(context: Context) -> Metadata:
    """Say who calls, for whom, and in which trace."""
    tokens = [(name, metadata_value(context, name)) for name in (AUTHORIZATION, USER_AUTHORIZATION)]
    traceparent = current_traceparent()
    return tuple((name, value) for name, value in (*tokens, (HEADER, traceparent)) if value)


def _error_of(problem: Problem) -> TradeFlowError:
    return rebuilt_error(problem.code, problem.message, reason=problem.reason, details=problem.details)

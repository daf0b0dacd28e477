"""What became of commands, as the contract spells it."""

from services.ledger.domain.receipt import Receipt
from services.ledger.outbound.wallet_messages import hold_message
from services.runtime.clock import to_micros
from services.runtime.errors import TradeFlowError, UnavailableError
from services.runtime.grpc_errors import code_of
from tradeflow.common.v1 import problem_pb2
from tradeflow.ledger.v1 import commands_pb2

Answered = Receipt | TradeFlowError | commands_pb2.Outcome
"""What became of a command: here, or as the leader said of one that was handed on to it."""


def receipt_message(receipt: Receipt) -> commands_pb2.Receipt:
    """Show a receipt."""
    message = commands_pb2.Receipt()
    write_receipt(message, receipt)
    return message


def write_receipt(message: commands_pb2.Receipt, receipt: Receipt) -> None:
    """Show a receipt, in place: messages that are made apart and put together cost twice as much."""
    message.journal_sequence = receipt.journal_sequence
    message.recorded_at.seconds, micros = divmod(to_micros(receipt.recorded_at), 1_000_000)
    message.recorded_at.nanos = micros * 1000
    if receipt.hold is not None:
        message.hold.CopyFrom(hold_message(receipt.hold))
    message.replayed = receipt.replayed
    message.dry_run = receipt.dry_run


def write_outcome(message: commands_pb2.Outcome, outcome: Answered) -> None:
    """Show what became of one command of a batch or a stream, in place."""
    if isinstance(outcome, commands_pb2.Outcome):
        message.CopyFrom(outcome)
    elif isinstance(outcome, TradeFlowError):
        message.problem.CopyFrom(problem_message(outcome))
    else:
        write_receipt(message.receipt, outcome)


def problem_message(error: TradeFlowError) -> problem_pb2.Problem:
    """Show a refusal inside a reply."""
    return problem_pb2.Problem(
        reason=error.reason,
        message=error.message,
        details=error.details,
        retryable=isinstance(error, UnavailableError),
        code=code_of(error).value[0],
    )

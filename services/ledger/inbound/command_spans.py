"""The commands of one call as steps of the traces that they come from: a call may carry those of many requests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from services.ledger.domain.receipt import Receipt
from services.runtime.errors import TradeFlowError
from services.runtime.tracing import begin_step, steps_are_recorded
from tradeflow.ledger.v1 import commands_pb2


@contextmanager
def recorded_commands(items: Sequence[commands_pb2.Command]) -> Iterator[list[Receipt | TradeFlowError]]:
    """Record what becomes of each command that names its trace; its events go on from that step.

    The body puts the outcomes into the list, in the order of the commands.
    """
    outcomes: list[Receipt | TradeFlowError] = []
    if not steps_are_recorded():
        yield outcomes
        return
    steps = [begin_step(item.traceparent, f"execute {item.WhichOneof('command')}") for item in items]
    for item, step in zip(items, steps, strict=True):
        if step is not None:
            item.traceparent = str(step.trace)
    failure: BaseException | None = None
    try:
        yield outcomes
    except BaseException as raised:
        failure = raised
        raise
    finally:
        for number, step in enumerate(steps):
            if step is not None:
                outcome = outcomes[number] if outcomes else failure
                step.end(outcome if isinstance(outcome, BaseException) else None)

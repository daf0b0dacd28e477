"""The door for `wallet-events`: the ledger's facts settle orders.

The event's id and its effects are written in one transaction, so a repeated event takes effect once. Facts that orders
has no use for are passed over before any transaction begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from google.protobuf.message import DecodeError

from services.orders.domain.order import Rejection
from services.orders.hold_messages import hold_of
from services.orders.ports import Rows, Store
from services.orders.use_cases.settle_order import fail_settlement, follow_refunds, settle_order
from services.runtime.broker.port import ReceivedMessage
from services.runtime.clock import Clock
from services.runtime.errors import InvalidArgumentError
from services.runtime.registry.wire_format import payload_of
from services.runtime.tracing import continued_trace
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent

WALLET_EVENTS_TOPIC: Final = "wallet-events"
"""Keyed by wallet id."""

CONSUMER_GROUP: Final = "orders"
"""Shared by all replicas."""

SETTLING_FACTS: Final = frozenset({"funds_captured", "settlement_refused", "refund_credited"})
"""The facts that change an order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletEventsDoor:
    """Handles batches of the topic."""

    store: Store
    clock: Clock

    async def handle(self, messages: Sequence[ReceivedMessage]) -> None:
        """Take each event's effect, once.

        Raises:
            InvalidArgumentError: `malformed_event`: no event can be read from a message.
            UnavailableError: Nothing was written; hand the batch in again.
        """
        settling = [message for message in messages if _event_of(message).WhichOneof("fact") in SETTLING_FACTS]
        if not settling:
            return
        async with self.store.transaction() as rows:
            new = await rows.inbox.only_new(settling)
            await rows.orders.lock([_hold_id(_event_of(message)) for message in new])
            for message in new:
                with continued_trace(message.headers.get("traceparent")):
                    await self._settle(_event_of(message), rows)

    async def _settle(self, event: WalletEvent, rows: Rows) -> None:
        now = self.clock.now()
        match event.WhichOneof("fact"):
            case "funds_captured":
                hold = hold_of(event.funds_captured.hold, journal_sequence=event.journal_sequence)
                await settle_order(hold, rows=rows, now=now)
            case "refund_credited":
                hold = hold_of(event.refund_credited.hold, journal_sequence=event.journal_sequence)
                await follow_refunds(hold, rows=rows, now=now)
            case _:
                await self._fail(event, rows)

    async def _fail(self, event: WalletEvent, rows: Rows) -> None:
        refused = event.settlement_refused
        rejection = Rejection(reason=refused.reason, message=refused.message)
        await fail_settlement(_id_of(refused.hold_id), rejection, rows=rows, now=self.clock.now())


def _hold_id(event: WalletEvent) -> UUID:
    """Read the id of the hold, and so of the order, that a settling fact is about."""
    fact = getattr(event, event.WhichOneof("fact") or "")
    return _id_of(fact.hold_id if event.HasField("settlement_refused") else fact.hold.hold_id)


def _event_of(message: ReceivedMessage) -> WalletEvent:
    try:
        return WalletEvent.FromString(payload_of(message.value))
    except DecodeError as error:
        raise InvalidArgumentError("The message isn't a WalletEvent.", reason="malformed_event") from error


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidArgumentError("The event names no hold.", reason="malformed_event") from error

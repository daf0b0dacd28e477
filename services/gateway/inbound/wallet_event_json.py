"""A wallet event as browsers get it: JSON with money as objects, instants as RFC 3339, and the order's id."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.gateway.ports import WalletNotice
from services.runtime.clock import EPOCH
from services.runtime.errors import InvalidArgumentError
from services.runtime.registry.wire_format import payload_of
from tradeflow.common.v1.money_pb2 import Money
from tradeflow.common.v1.wallet_pb2 import Balance, Hold, HoldState
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent

RENDERED_MAX = 1024
"""Events kept as text: all connections of a wallet get the same one."""


class MalformedEventError(ValueError):
    """The bytes are no wallet event."""


def notice_of(value: bytes) -> WalletNotice | None:
    """Read what the feed needs of a published event; None of the one fact that is outside of the numbering.

    Raises:
        MalformedEventError: It is no wallet event.
    """
    try:
        payload = payload_of(value)
        event = WalletEvent.FromString(payload)
    except (InvalidArgumentError, DecodeError) as error:
        raise MalformedEventError("the bytes are no WalletEvent") from error
    if event.sequence == 0 and event.HasField("settlement_refused"):
        return None
    if not event.wallet_id or event.sequence < 1:
        raise MalformedEventError("the event has no wallet or no sequence")
    return WalletNotice(
        wallet_id=event.wallet_id,
        sequence=event.sequence,
        recorded_at_micros=event.recorded_at.ToMicroseconds(),
        payload=payload,
    )


@lru_cache(maxsize=RENDERED_MAX)
def event_json(payload: bytes) -> str:
    """Write an event as the message that clients get.

    A kind of fact that a newer ledger has and this gateway does not know is `unknown`: its balance still counts, and
    leaving it out would tear a gap.
    """
    event = WalletEvent.FromString(payload)
    kind = event.WhichOneof("fact") or "unknown"
    content = {
        "event_id": event.event_id,
        "wallet_id": event.wallet_id,
        "sequence": event.sequence,
        "recorded_at": _instant(event.recorded_at),
        "journal_sequence": event.journal_sequence,
        "balance": _balance(event.balance) if event.HasField("balance") else None,
        "kind": kind,
        "fact": _fact(getattr(event, kind)) if kind != "unknown" else {},
    }
    return msgspec.json.encode({"type": "event", "event": content}).decode()


def _fact(fact: Message) -> dict[str, Any]:
    content = {field.name: _value(fact, field.name) for field in fact.DESCRIPTOR.fields}
    hold_id = content.get("hold_id") or (content.get("hold") or {}).get("hold_id")
    return content | {"order_id": hold_id} if hold_id else content


def _value(message: Message, name: str) -> Any:
    value = getattr(message, name)
    write = _WRITERS.get(type(value))
    if write is None:
        return value
    return write(value) if message.HasField(name) else None


def _money(money: Money) -> dict[str, Any]:
    return _amount(money.amount_minor, money.currency)


def _amount(amount_minor: int, currency: str) -> dict[str, Any]:
    return {"amount_minor": amount_minor, "currency": currency}


def _balance(balance: Balance) -> dict[str, Any]:
    return {
        "wallet_id": balance.wallet_id,
        "currency": balance.currency,
        "posted": _amount(balance.posted_minor, balance.currency),
        "pending_outgoing": _amount(balance.pending_outgoing_minor, balance.currency),
        "available": _amount(balance.available_minor, balance.currency),
        "overdraft_limit": _amount(balance.overdraft_limit_minor, balance.currency),
        "account_sequence": balance.account_sequence,
    }


def _hold(hold: Hold) -> dict[str, Any]:
    return {
        "hold_id": hold.hold_id,
        "order_id": hold.hold_id,
        "wallet_id": hold.wallet_id,
        "currency": hold.currency,
        "state": HoldState.Name(hold.state).removeprefix("HOLD_STATE_").lower(),
        "held": _amount(hold.held_minor, hold.currency),
        "captured": _amount(hold.captured_minor, hold.currency),
        "voided": _amount(hold.voided_minor, hold.currency),
        "remaining": _amount(hold.remaining_minor, hold.currency),
        "refunded": _amount(hold.refunded_minor, hold.currency),
        "expires_at": _instant(hold.expires_at) if hold.HasField("expires_at") else None,
    }


def _instant(timestamp: Timestamp) -> str:
    return timestamp.ToDatetime(tzinfo=EPOCH.tzinfo).isoformat().replace("+00:00", "Z")


_WRITERS: dict[type, Callable[[Any], Any]] = {Money: _money, Hold: _hold, Balance: _balance, Timestamp: _instant}

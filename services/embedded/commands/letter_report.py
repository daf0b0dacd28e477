"""How a dead letter reads."""

import re

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from services.orders.inbound.wallet_events import WALLET_EVENTS_TOPIC
from services.orders.outbound.order_events import ORDER_EVENTS_TOPIC
from services.runtime.dead_letters import DeadLetter, Origin
from services.runtime.errors import InvalidArgumentError
from services.runtime.registry.wire_format import payload_of
from tradeflow.events.v1.order_event_pb2 import OrderEvent
from tradeflow.events.v1.wallet_event_pb2 import WalletEvent

_EVENTS: dict[str, type[Message]] = {ORDER_EVENTS_TOPIC: OrderEvent, WALLET_EVENTS_TOPIC: WalletEvent}
"""What the topics carry."""

_NAME = re.compile(r"(?P<consumer>.+):(?P<topic>[^:/]+)/(?P<partition>\d+)/(?P<offset>\d+)")
"""The consumer of a topic may have the topic in its own name: ledger:order-events:order-events/0/17."""


def letter_name(letter: DeadLetter) -> str:
    """Name a letter: for whom it is and where its message was, such as orders:wallet-events/0/17."""
    origin = letter.origin
    return f"{origin.consumer}:{origin.topic}/{origin.partition}/{origin.offset}"


def origin_of(name: str) -> Origin | None:
    """Read a letter's name; None when it is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return Origin(
        topic=match["topic"],
        partition=int(match["partition"]),
        offset=int(match["offset"]),
        consumer=match["consumer"],
    )


def letter_as_data(letter: DeadLetter, *, with_value: bool) -> dict[str, object]:
    """Tell a letter to programs; the event as JSON where it can be read, and always its bytes in hexadecimal."""
    told: dict[str, object] = {
        "letter": letter_name(letter),
        "consumer": letter.origin.consumer,
        "topic": letter.origin.topic,
        "reason": letter.reason,
        "key": letter.key.decode(errors="replace"),
        "headers": dict(letter.headers),
    }
    if with_value:
        told |= {"event": _event_of(letter), "value_hex": letter.value.hex()}
    return told


def _event_of(letter: DeadLetter) -> dict[str, object] | None:
    event = _EVENTS.get(letter.origin.topic)
    if event is None:
        return None
    try:
        read = event.FromString(payload_of(letter.value))
    except (DecodeError, InvalidArgumentError):
        return None
    return dict(MessageToDict(read, preserving_proto_field_name=True))

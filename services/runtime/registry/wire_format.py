"""A value in Confluent's wire format: byte 0, the schema's id in four bytes, the message's place, the message itself.

The place in the schema's file is a path of indexes, since messages can be inside of others: how many there are, then
each, as zigzag varints; the commonest path, the file's first message, is the one byte 0.
Source: docs.confluent.io, "Wire format" of Schema Registry's serializers.
"""

from collections.abc import Sequence

from services.runtime.errors import InvalidArgumentError

MAGIC_BYTE = 0
"""No Protobuf message begins so: its first byte would be a field with the number 0, and there is none."""

FRAME_REASON = "event_frame_malformed"
"""The reason of a value that begins like a frame and isn't one."""

_ID_END = 5
"""Behind the magic byte and the id."""

_NESTING_MAX = 100
"""Protobuf's own limit for messages inside of messages."""

_VARINT_BYTES_MAX = 5
"""For 32 bits."""

_SEVEN_BITS, _MORE_FOLLOWS = 0x7F, 0x80
"""What a varint's byte carries, and what it says about the next."""


def frame_of(schema_id: int, message_path: Sequence[int]) -> bytes:
    """Make what comes before the message."""
    head = bytes([MAGIC_BYTE]) + schema_id.to_bytes(4, "big")
    if list(message_path) == [0]:
        return head + b"\x00"
    return head + b"".join(_zigzag(number) for number in (len(message_path), *message_path))


def payload_of(value: bytes) -> bytes:
    """Return the Protobuf message in a value, in the registry's wire format or plain.

    Which schema the id names doesn't matter: a Protobuf message can be read with any version of its schema.

    Raises:
        InvalidArgumentError: `event_frame_malformed`.
    """
    if not value or value[0] != MAGIC_BYTE:
        return value
    depth, start = _read_zigzag(value, _ID_END)
    if depth < 0 or depth > _NESTING_MAX:
        raise _malformed(f"names a message at depth {depth}")
    for _ in range(depth):
        index, start = _read_zigzag(value, start)
        if index < 0:
            raise _malformed("names a message before the first")
    return value[start:]


def _zigzag(number: int) -> bytes:
    left, encoded = number << 1, bytearray()
    while left > _SEVEN_BITS:
        encoded.append(left & _SEVEN_BITS | _MORE_FOLLOWS)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def _read_zigzag(value: bytes, start: int) -> tuple[int, int]:
    """Read a number, and tell where the next begins."""
    raw = 0
    for place, byte in enumerate(value[start : start + _VARINT_BYTES_MAX]):
        raw |= (byte & _SEVEN_BITS) << (7 * place)
        if not byte & _MORE_FOLLOWS:
            return (raw >> 1) ^ -(raw & 1), start + place + 1
    raise _malformed("ends too early")


def _malformed(how: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"The value begins like a registry's frame and {how}.", reason=FRAME_REASON)

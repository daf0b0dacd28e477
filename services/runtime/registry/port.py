"""What a service asks of a registry, whether there is one or not."""

from typing import Protocol


class MessageCodec(Protocol):
    """Makes of a message's bytes what a topic carries. What it carries is read by `wire_format.payload_of`."""

    async def encode(self, topic: str, payload: bytes) -> bytes:
        """Make the value of a message of a topic.

        Raises:
            UnavailableError: The schema's id isn't known and can't be had now: with `schema_missing` somebody must
                register it first, with any other reason the registry doesn't answer. Try again.
        """
        ...

    async def check_ready(self) -> None:
        """Fit a readiness check: all that is published here can be encoded.

        Raises:
            UnavailableError: As `encode` does.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class PlainCodec:
    """Fits `MessageCodec` where no registry is configured: values are plain Protobuf."""

    async def encode(self, topic: str, payload: bytes) -> bytes:  # noqa: ARG002 - all topics are alike
        """Return the message as it is."""
        return payload

    async def check_ready(self) -> None:
        """Nothing is needed."""

    async def close(self) -> None:
        """Nothing is open."""

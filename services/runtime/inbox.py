"""Events that were handled, so that a repeated one takes effect once.

The table is the service's own, by its migrations:
`inbox (consumer VARBINARY(64), event_id BINARY(16), received_at BIGINT, PRIMARY KEY (consumer, event_id))`, with an
index on `(consumer, received_at)`, by which `inbox_pruning` finds what is old.
"""

from collections.abc import Sequence
from uuid import UUID

from services.runtime.broker.port import ReceivedMessage
from services.runtime.clock import Clock, SystemClock, to_micros
from services.runtime.database.port import Connection, DuplicateKeyError
from services.runtime.errors import InvalidArgumentError, UnavailableError

# Finds those that were handled.
_READ_KNOWN = "SELECT event_id FROM inbox WHERE consumer = $1 AND event_id IN ($in)"

# Records the new ones. A duplicate key fails the transaction.
_INSERT = "INSERT INTO inbox (consumer, event_id, received_at) VALUES ($1, $2, $3)"


async def only_new(
    connection: Connection, consumer: str, messages: Sequence[ReceivedMessage], *, clock: Clock | None = None
) -> list[ReceivedMessage]:
    """Return the messages that this consumer never handled, in order, and record them as handled.

    Both hold if the caller's transaction commits: write the effects in the same one.

    Raises:
        InvalidArgumentError: A message without a valid `event-id` header.
        UnavailableError: Another consumer of this name handled one of them meanwhile (`event_just_handled`): the same
            messages again, in a new transaction.
    """
    first_of: dict[bytes, ReceivedMessage] = {}
    for message in messages:
        first_of.setdefault(event_id_of(message).bytes, message)
    name = consumer.encode()
    known = {row[0] for row in await connection.fetch_in(_READ_KNOWN, list(first_of), name)}
    new = {event_id: message for event_id, message in first_of.items() if event_id not in known}
    now_micros = to_micros((clock or SystemClock()).now())
    try:
        await connection.execute_many(_INSERT, [(name, event_id, now_micros) for event_id in new])
    except DuplicateKeyError as error:
        raise UnavailableError(
            "Another consumer has just handled one of these events.", reason="event_just_handled"
        ) from error
    return list(new.values())


def event_id_of(message: ReceivedMessage) -> UUID:
    """Read the id of the event that a message carries.

    Raises:
        InvalidArgumentError: No valid `event-id` header.
    """
    try:
        return UUID(message.headers["event-id"])
    except (KeyError, ValueError):
        raise InvalidArgumentError(
            f"message {message.offset} of {message.topic} has no valid event-id", reason="event_id_missing"
        ) from None

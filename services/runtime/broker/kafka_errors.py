"""What goes wrong with Kafka, in the words of the port."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from services.runtime.broker.port import LEASE_LOST_REASON
from services.runtime.errors import InvalidArgumentError, NotFoundError, TradeFlowError, UnavailableError

LIBRARY_LOGGER = logging.getLogger("librdkafka")
"""Where the library says what it notices: lost connections, for one."""

_TAKEN_OVER = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - librdkafka's own codes have such names
        KafkaError._NO_OFFSET,  # noqa: SLF001 - the same
    }
)
"""The group has gone on without this consumer."""

_NO_TOPIC = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own codes have such names
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the same
    }
)

_FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)

_GIVEN_UP = frozenset(
    {
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - librdkafka's own codes have such names
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - the same
    }
)
"""What the producer says of messages whose time was over."""

_NOT_LET_IN = {
    KafkaError._AUTHENTICATION: "broker_unauthenticated",  # noqa: SLF001 - librdkafka's own codes have such names
    KafkaError.SASL_AUTHENTICATION_FAILED: "broker_unauthenticated",
    KafkaError._SSL: "broker_untrusted",  # noqa: SLF001 - the same
}
"""The reasons of a wrong user or password, and of a certificate that isn't trusted, theirs or ours."""

NOT_LET_IN_SECONDS = 30.0
"""How long such a trouble explains why nothing answers; librdkafka tries again, and says so, every ten at most."""


class EntryTroubles:
    """Why a cluster doesn't let us in.

    librdkafka says that in the background, and what is asked meanwhile only times out. Fits its `error_cb`.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._newest: tuple[float, KafkaError] | None = None

    def note(self, error: KafkaError) -> None:
        """Take note of what went wrong."""
        if error.code() in _NOT_LET_IN:
            self._newest = (time.monotonic(), error)

    def entered(self) -> None:
        """Take note that the cluster answers."""
        self._newest = None

    def newest(self) -> KafkaError | None:
        """Tell the newest trouble, unless it is past or nothing was noted."""
        if self._newest is None or time.monotonic() - self._newest[0] > NOT_LET_IN_SECONDS:
            return None
        return self._newest[1]


def error_of(error: KafkaError, what: str, troubles: EntryTroubles | None = None) -> TradeFlowError:
    """Translate one error; `what` names what was tried, `troubles` may know what is behind it."""
    code = error.code()
    text = f"{what}: {'no broker took it in time' if code in _GIVEN_UP else error.str()}"
    if code in _NO_TOPIC:
        return NotFoundError(f"{text}; topics are made by the operator, or by hand", reason="topic_missing")
    if code in _TAKEN_OVER:
        return UnavailableError(text, reason=LEASE_LOST_REASON)
    if code in _FORBIDDEN:
        # Rights may come: whoever waits for them goes on then.
        return UnavailableError(f"{text}; this user needs an ACL for it", reason="broker_forbidden")
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return InvalidArgumentError(text, reason="message_too_large")
    behind = error if code in _NOT_LET_IN else troubles.newest() if troubles is not None else None
    if behind is not None:
        return UnavailableError(f"{what}: {behind.str()}", reason=_NOT_LET_IN[behind.code()])
    return UnavailableError(text, reason="broker_unreachable")


@contextmanager
def translated_errors(what: str, troubles: EntryTroubles | None = None) -> Iterator[None]:
    """Let Kafka's errors come out as the port's."""
    try:
        yield
    except KafkaException as raised:
        raise error_of(raised.args[0], what, troubles) from raised


def closed_error() -> UnavailableError:
    """Say that the broker was closed in this process."""
    return UnavailableError("the broker is closed", reason="broker_closed")

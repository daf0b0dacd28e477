"""What Kafka's errors mean for a resource: try again, or a person has to act."""

from confluent_kafka import KafkaError, KafkaException

from tradeflow_operator.errors import OperatorError, RefusedError, UnavailableError
from tradeflow_operator.log import without_secrets

_FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
    }
)

_REFUSED = frozenset(
    {
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_REQUEST,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_ALREADY_EXISTS,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.TOPIC_DELETION_DISABLED,
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError.UNACCEPTABLE_CREDENTIAL,
    }
)

UNKNOWN_TOPIC = KafkaError.UNKNOWN_TOPIC_OR_PART
ALREADY_EXISTS = KafkaError.TOPIC_ALREADY_EXISTS


_SILENCE = frozenset(
    {
        KafkaError._TIMED_OUT,  # noqa: SLF001 - librdkafka's own errors have such names
        KafkaError._TRANSPORT,  # noqa: SLF001 - as above
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001 - as above
        KafkaError._RESOLVE,  # noqa: SLF001 - as above
    }
)


def is_silence(error: KafkaException) -> bool:
    """Tell whether no broker answered at all."""
    return code_of(error) in _SILENCE


def code_of(error: KafkaException) -> int:
    """Tell the code of Kafka's error."""
    inner = error.args[0]
    return inner.code() if isinstance(inner, KafkaError) else KafkaError.UNKNOWN


def meaning_of(error: KafkaException, what: str) -> OperatorError:
    """Turn an error into what the status says.

    Args:
        error: What was raised.
        what: What was asked for, as the end of a sentence: "describe the topic orders".
    """
    inner = error.args[0]
    told = without_secrets(inner.str() if isinstance(inner, KafkaError) else str(error))
    code = code_of(error)
    if code == KafkaError.SECURITY_DISABLED:
        return RefusedError(
            f"Kafka can't {what}: it has no authorizer (its setting authorizer.class.name), so it keeps no rights.",
            reason="KafkaHasNoAuthorizer",
        )
    if code in _FORBIDDEN:
        return RefusedError(f"Kafka doesn't let this user {what}: {told}", reason="KafkaForbidden")
    if code in _REFUSED:
        return RefusedError(f"Kafka refuses to {what}: {told}", reason="KafkaRefused")
    return UnavailableError(f"Kafka can't {what} now: {told}", reason="KafkaUnreachable")

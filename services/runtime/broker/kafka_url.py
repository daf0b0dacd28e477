"""Where a Kafka cluster is and how it is entered, from one URL.

`kafka://user:password@host1:9092,host2:9092?tls=true&ca_file=/etc/kafka/ca.pem`: a user asks for SASL (SCRAM-SHA-512
unless `mechanism` says otherwise), `tls=true` for TLS. A client certificate comes as `certificate_file` and `key_file`;
`password_file` keeps the password out of the environment. `topic_prefix=shop1.` lets several installations share a
cluster: it begins the names of all topics and groups, and nobody but this adapter knows it.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from services.runtime.broker.kafka_errors import EntryTroubles
from services.runtime.errors import InvalidArgumentError
from services.runtime.url_parts import url_parts

SCHEME = "kafka"

LEADERS_EVERY_SECONDS = 5
"""How often clients ask who leads each partition. A broker that stops in order tells that nobody does, and librdkafka
may believe it until it asks again: by default for 5 minutes, without reading or publishing anything there."""

DEFAULT_MECHANISM = "SCRAM-SHA-512"
"""How a user proves the password: the strongest that every Kafka has."""

_FILES = {
    "ca_file": "ssl.ca.location",
    "certificate_file": "ssl.certificate.location",
    "key_file": "ssl.key.location",
}
"""Options that name files, and what librdkafka calls them."""

_OPTIONS = frozenset({"tls", "mechanism", "password_file", "topic_prefix", *_FILES})

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,64}", re.ASCII)
"""What may begin a topic's name. Source: Kafka's own rule for names."""

_MALFORMED = "broker_url_malformed"

Config = dict[str, str | int | float | bool]
"""librdkafka's settings. Source: its CONFIGURATION.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaCluster:
    """How a cluster is reached, and what names begin with there."""

    config: Config = field(repr=False)
    """The password is among it."""
    prefix: str
    troubles: EntryTroubles = field(default_factory=EntryTroubles)

    def client_config(self) -> dict[str, Any]:
        """Configure a client that tells why it isn't let in."""
        return {**self.config, "error_cb": self.troubles.note}

    def full(self, name: str) -> str:
        """Name a topic or a group as the cluster does."""
        return f"{self.prefix}{name}"

    def short(self, name: str) -> str:
        """Name a topic as the services do."""
        return name.removeprefix(self.prefix)


def cluster_of(url: str) -> KafkaCluster:
    """Read a URL.

    Raises:
        InvalidArgumentError: `broker_url_malformed`; the message never shows the password.
    """
    parts = url_parts(url, "broker")
    credentials, _, hosts = parts.netloc.rpartition("@")
    if parts.scheme != SCHEME or not hosts or parts.path not in {"", "/"}:
        raise InvalidArgumentError("a Kafka URL is kafka://host:9092,host:9092?options", reason=_MALFORMED)
    options = _options_of(parts.query)
    config: Config = {"bootstrap.servers": hosts, "topic.metadata.refresh.interval.ms": LEADERS_EVERY_SECONDS * 1000}
    tls = _is_true(options.get("tls", "false"))
    if credentials:
        user, _, password = credentials.partition(":")
        config |= {
            "sasl.mechanism": options.get("mechanism", DEFAULT_MECHANISM),
            "sasl.username": unquote(user),
            "sasl.password": _password_of(unquote(password), options),
        }
    config["security.protocol"] = f"{'SASL_' if credentials else ''}{'SSL' if tls else 'PLAINTEXT'}"
    config |= {name: options[option] for option, name in _FILES.items() if option in options}
    prefix = options.get("topic_prefix", "")
    if not _PREFIX.fullmatch(prefix):
        raise InvalidArgumentError("a topic prefix is made of letters, digits, '.', '_' and '-'", reason=_MALFORMED)
    return KafkaCluster(config=config, prefix=prefix)


def _options_of(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise InvalidArgumentError(
            f"unknown option {unknown[0]!r} of a Kafka URL; there are: {', '.join(sorted(_OPTIONS))}", reason=_MALFORMED
        )
    return options


def _is_true(text: str) -> bool:
    if text not in {"true", "false"}:
        raise InvalidArgumentError("tls is true or false in a Kafka URL", reason=_MALFORMED)
    return text == "true"


def _password_of(password: str, options: dict[str, str]) -> str:
    if "password_file" not in options:
        return password
    try:
        return Path(options["password_file"]).read_text().strip()
    except OSError as error:
        raise InvalidArgumentError(
            f"the password file of the Kafka URL can't be read: {error.strerror}", reason=_MALFORMED
        ) from error

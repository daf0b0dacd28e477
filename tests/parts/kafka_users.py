"""Users and their rights on a Kafka that was started with `--sasl`; `admin_url` is the server's own URL."""

import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion

from services.runtime.broker.kafka_url import cluster_of

SECONDS_MAX = 30.0
"""A busy machine spreads a change within this."""

POLL_SECONDS = 0.05
"""How often the cluster is asked whether it knows."""

SCRAM_ITERATIONS = 4096
"""The fewest that Kafka takes: a test's password needs no more."""


def add_user(admin_url: str, name: str, password: str) -> str:
    """Make a user, wait until it can sign in, and return its URL: the administrator's with another user."""
    admin = AdminClient(cluster_of(admin_url).config)
    information = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS)
    wish = UserScramCredentialUpsertion(name, information, password.encode())
    for future in admin.alter_user_scram_credentials([wish]).values():
        future.result(SECONDS_MAX)
    address = urlsplit(admin_url)
    url = address._replace(netloc=f"{name}:{password}@{address.netloc.rpartition('@')[2]}").geturl()
    _wait_until(lambda: _answers(url), f"{name} can't sign in")
    return url


def allow(
    admin_url: str, name: str, *operations: str, on: Literal["topic", "group"] = "topic", prefix: str = ""
) -> None:
    """Let a user `READ`, `WRITE`, `DESCRIBE`, `CREATE`, ... all topics or groups whose names begin so, and wait.

    An empty prefix stands for all of them.
    """
    admin = AdminClient(cluster_of(admin_url).config)
    resource = ResourceType.TOPIC if on == "topic" else ResourceType.GROUP
    pattern = ResourcePatternType.PREFIXED if prefix else ResourcePatternType.LITERAL
    where = (resource, prefix or "*", pattern, f"User:{name}", "*")
    wishes = [AclBinding(*where, AclOperation[operation], AclPermissionType.ALLOW) for operation in operations]
    for future in admin.create_acls(wishes).values():
        future.result(SECONDS_MAX)
    known = AclBindingFilter(*where, AclOperation.ANY, AclPermissionType.ALLOW)
    _wait_until(lambda: set(wishes) <= set(admin.describe_acls(known).result(SECONDS_MAX)), f"{name} got no rights")


def _answers(url: str) -> bool:
    try:
        AdminClient({**cluster_of(url).config, "log_level": 0}).list_topics(timeout=2)
    except KafkaException:
        return False
    return True


def _wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + SECONDS_MAX
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{otherwise} within {SECONDS_MAX:g} s")
        time.sleep(POLL_SECONDS)

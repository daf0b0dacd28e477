"""Users and rights on Kafka: SCRAM credentials and access control lists."""

import re
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, cast

from confluent_kafka import KafkaError
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from tradeflow_operator.clients.kafka import KafkaAdmin
from tradeflow_operator.reconcile.event_access import Right

SCRAM_ITERATIONS = 8192
"""Twice what Kafka takes at least; a random password of 256 bits needs no more."""

_TYPES = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}


class KafkaUsers:
    """Asks and changes users by an administrator's connection; raises as `KafkaAdmin` does."""

    def __init__(self, kafka: KafkaAdmin) -> None:
        """Use this connection."""
        self._kafka = kafka

    async def cluster_id(self) -> str:
        """Name the cluster whose users these are."""
        cluster_id, _ = await self._kafka.cluster()
        return cluster_id

    async def exists(self, principal: str) -> bool:
        """Tell whether a user can sign in at all."""
        found: Any = await self._kafka.ask(
            lambda seconds: self._described(principal, seconds),
            f"describe the user {principal}",
            harmless=KafkaError.RESOURCE_NOT_FOUND,
        )
        return bool(found and found.scram_credential_infos)

    async def rights(self, principal: str) -> tuple[Right, ...]:
        """List what a user may do to topics and groups."""
        every = AclBindingFilter(
            ResourceType.ANY,
            cast("str", None),  # any name; the library's annotations forget it
            ResourcePatternType.ANY,
            f"User:{principal}",
            cast("str", None),  # any host
            AclOperation.ANY,
            AclPermissionType.ALLOW,
        )
        bindings: Any = await self._kafka.ask(
            lambda seconds: self._kafka.native.describe_acls(every, request_timeout=seconds),
            f"list the rights of {principal}",
        )
        return tuple(sorted(right for right in map(_right_of, bindings) if right is not None))

    async def set_password(self, principal: str, password: str) -> None:
        """Make a user, or give it another password."""
        wish = UserScramCredentialUpsertion(
            principal, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, SCRAM_ITERATIONS), password.encode()
        )
        await self._alter(principal, wish, "set_password", f"set the password of {principal}")

    async def delete(self, principal: str) -> None:
        """Delete a user; one that isn't there is fine."""
        wish = UserScramCredentialDeletion(principal, ScramMechanism.SCRAM_SHA_512)
        await self._alter(
            principal, wish, "delete_user", f"delete the user {principal}", harmless=KafkaError.RESOURCE_NOT_FOUND
        )

    async def grant(self, principal: str, rights: Sequence[Right]) -> None:
        """Allow; what is allowed already stays so."""
        for right in rights:
            binding = _binding_of(principal, right)
            await self._kafka.write(
                "grant",
                lambda seconds, wish=binding: self._kafka.native.create_acls(  # type: ignore[misc] # bound early
                    [wish], request_timeout=seconds
                )[wish],
                f"allow {principal} {right}",
            )

    async def take(self, principal: str, rights: Sequence[Right]) -> None:
        """Allow no longer; what isn't allowed is fine."""
        for right in rights:
            one = _filter_of(principal, right)
            await self._kafka.write(
                "take",
                lambda seconds, wish=one: self._kafka.native.delete_acls(  # type: ignore[misc] # bound early
                    [wish], request_timeout=seconds
                )[wish],
                f"no longer allow {principal} {right}",
            )

    def _described(self, principal: str, seconds: float) -> "Future[Any]":
        answers = self._kafka.native.describe_user_scram_credentials([principal], request_timeout=seconds)
        return cast("dict[str, Future[Any]]", answers)[principal]  # one for each user that is named

    async def _alter(self, principal: str, wish: Any, verb: str, what: str, *, harmless: int | None = None) -> None:
        await self._kafka.write(
            verb,
            lambda seconds: self._kafka.native.alter_user_scram_credentials([wish], request_timeout=seconds)[principal],
            what,
            harmless=harmless,
        )


def _right_of(binding: Any) -> Right | None:
    on = {ResourceType.TOPIC: "topic", ResourceType.GROUP: "group"}.get(binding.restype)
    if on is None:
        return None
    operation = "".join(word.capitalize() for word in binding.operation.name.split("_"))
    prefix = binding.resource_pattern_type == ResourcePatternType.PREFIXED
    return Right(on=on, name=binding.name, prefix=prefix, operation=operation)  # type: ignore[arg-type] # one of two


def _where(principal: str, right: Right) -> tuple[Any, ...]:
    pattern = ResourcePatternType.PREFIXED if right.prefix else ResourcePatternType.LITERAL
    operation = AclOperation[re.sub(r"(?<!^)(?=[A-Z])", "_", right.operation).upper()]
    return (_TYPES[right.on], right.name, pattern, f"User:{principal}", "*", operation, AclPermissionType.ALLOW)


def _binding_of(principal: str, right: Right) -> AclBinding:
    return AclBinding(*_where(principal, right))


def _filter_of(principal: str, right: Right) -> AclBindingFilter:
    return AclBindingFilter(*_where(principal, right))

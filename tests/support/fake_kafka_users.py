"""Users and rights of the fake Kafka, which refuses what it is told to refuse."""

from collections.abc import Sequence

from tests.support.fake_kafka_admin import FakeCluster
from tradeflow_operator.clients.kafka_users import KafkaUsers
from tradeflow_operator.errors import RefusedError
from tradeflow_operator.reconcile.event_access import Right


class FakeKafkaUsers(KafkaUsers):
    """A client of it."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    async def cluster_id(self) -> str:
        return self.cluster.id

    async def exists(self, principal: str) -> bool:
        return principal in self.cluster.users

    async def rights(self, principal: str) -> tuple[Right, ...]:
        return tuple(sorted(self.cluster.rights.get(principal, ())))

    async def set_password(self, principal: str, password: str) -> None:
        if self.cluster.makes_no_users:
            raise RefusedError("Kafka doesn't let this user do it", reason="KafkaForbidden")
        self.cluster.users[principal] = password

    async def grant(self, principal: str, rights: Sequence[Right]) -> None:
        self.cluster.rights.setdefault(principal, set()).update(rights)

    async def take(self, principal: str, rights: Sequence[Right]) -> None:
        self.cluster.rights.get(principal, set()).difference_update(rights)

    async def delete(self, principal: str) -> None:
        self.cluster.users.pop(principal, None)

"""KafkaConnection's effects: none. It looks whether Kafka and the registry answer."""

from datetime import datetime

from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.errors import OperatorError
from tradeflow_operator.kinds import Kind
from tradeflow_operator.reconcile.connection import KIND, ConnectionSight, KafkaConnectionSpec, plan_connection
from tradeflow_operator.reconcile.plan import Plan, Step
from tradeflow_operator.resources import ObjectKey, Resource


class KafkaConnectionKind(Kind[KafkaConnectionSpec, ConnectionSight]):
    """Tests a connection."""

    name = KIND
    plural = "kafkaconnections"
    spec_type = KafkaConnectionSpec

    def __init__(self, connections: Connections) -> None:
        """Look by these."""
        self._connections = connections

    async def observe(self, resource: Resource[KafkaConnectionSpec]) -> ConnectionSight:
        """Ask both."""
        if resource.spec.secret_ref and resource.force_requested:
            self._connections.forget_secret(resource.namespace, resource.spec.secret_ref.name)
        clients = await self._connections.clients(resource)
        cluster_id, brokers, kafka_problem, registry_problem, registry_id = None, 0, "", "", None
        try:
            cluster_id, brokers = await clients.kafka.cluster()
        except OperatorError as error:
            kafka_problem = error.message
        if clients.registry is not None:
            try:
                await clients.registry.check()
                registry_id = await clients.registry.identity()
            except OperatorError as error:
                registry_problem = error.message
        return ConnectionSight(
            cluster_id=cluster_id,
            brokers=brokers,
            kafka_problem=kafka_problem,
            registry_problem=registry_problem,
            registry_id=registry_id,
        )

    def plan(self, resource: Resource[KafkaConnectionSpec], observed: ConnectionSight, now: datetime) -> Plan:
        """Sum up."""
        return plan_connection(resource, observed, now)

    async def apply(self, resource: Resource[KafkaConnectionSpec], step: Step) -> None:
        """Do nothing: its plans have no steps."""
        raise AssertionError(f"{resource.key} has no step {step}")

    def forget(self, key: ObjectKey) -> None:
        """Speak no more with the servers of a connection that is gone."""
        self._connections.forget(key)

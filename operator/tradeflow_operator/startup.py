"""What is built from what, and the order in which the operator starts and stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from tradeflow_operator.clients.connections import Connections
from tradeflow_operator.clients.fence import Fence, open_fence
from tradeflow_operator.clients.helm import Helm
from tradeflow_operator.clients.kubernetes import KubernetesClient
from tradeflow_operator.clients.owned_objects import OwnedObjects
from tradeflow_operator.clients.released_objects import ReleasedObjects
from tradeflow_operator.clients.service_addresses import ServiceAddresses
from tradeflow_operator.handlers.database_migration import DatabaseMigrationKind
from tradeflow_operator.handlers.event_access import EventAccessKind
from tradeflow_operator.handlers.event_schema import EventSchemaKind
from tradeflow_operator.handlers.event_topic import EventTopicKind
from tradeflow_operator.handlers.jwt_key_set import JWTKeySetKind
from tradeflow_operator.handlers.kafka_connection import KafkaConnectionKind
from tradeflow_operator.handlers.rate_limit_policy import RateLimitPolicyKind
from tradeflow_operator.handlers.tradeflow import TradeFlowKind
from tradeflow_operator.handlers.watching import watch_settings, watching
from tradeflow_operator.health import Health, serving
from tradeflow_operator.kinds import Kind, Kinds
from tradeflow_operator.loops import Loops
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.settings import OperatorSettings, new_identity
from tradeflow_operator.work.audit import AuditScope, WatchAudit
from tradeflow_operator.work.intake import Intake
from tradeflow_operator.work.known import KnownResources
from tradeflow_operator.work.lease import Leadership
from tradeflow_operator.work.queue import WorkQueue
from tradeflow_operator.work.status_writer import StatusWriter
from tradeflow_operator.work.visit import Visitor
from tradeflow_operator.work.worker import Workers, WorkLimits

WATCHES_STOP_SECONDS_MAX = 5.0
"""How long kopf gets to end its watches."""

CONNECTIONS_MAX = 48
"""To the API server: one for each worker, and some for the lease and the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What kinds are made from."""

    settings: OperatorSettings
    kubernetes: KubernetesClient
    fence: Fence
    """For writes to anything else than Kubernetes: `fence.write_seconds(…)` right before each."""
    known: KnownResources
    """The resources of our kinds as they were last told, such as the KafkaConnection that a topic names."""
    metrics: OperatorMetrics
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What has to be closed in the end, last one first."""


MakeKinds = Callable[[World], Sequence[Kind[Any, Any]]]


def serve_kinds(world: World) -> Sequence[Kind[Any, Any]]:
    """Make all kinds that are served."""
    connections = Connections(
        world.kubernetes, world.known, world.fence, world.metrics, batch_size=world.settings.batch_size
    )
    world.closers.append(connections.close)
    addresses, objects = ServiceAddresses(world.kubernetes), OwnedObjects(world.kubernetes)
    return (
        KafkaConnectionKind(connections),
        EventTopicKind(connections, world.kubernetes),
        EventSchemaKind(connections, world.kubernetes, world.metrics),
        EventAccessKind(connections, world.kubernetes),
        JWTKeySetKind(world.kubernetes, addresses, world.metrics),
        RateLimitPolicyKind(objects, addresses),
        DatabaseMigrationKind(world.kubernetes),
        TradeFlowKind(world.kubernetes, addresses, ReleasedObjects(world.kubernetes), _helm(world)),
    )


def _helm(world: World) -> Helm:
    settings = world.settings
    return Helm(
        world.kubernetes,
        world.fence,
        program=settings.helm_program,
        chart=settings.platform_chart,
        kubeconfig=settings.kubeconfig,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningOperator:
    """An operator that runs."""

    http_port: int
    loops: Loops
    watches_began: asyncio.Event


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the loops are made of."""

    world: World
    lease_client: KubernetesClient
    kinds: Kinds
    intake: Intake
    leadership: Leadership
    workers: Workers
    audit: WatchAudit

    async def close(self) -> None:
        for close in [self.lease_client.close, self.world.kubernetes.close, *self.world.closers][::-1]:
            await close()


@asynccontextmanager
async def running(settings: OperatorSettings, make_kinds: MakeKinds = serve_kinds) -> AsyncIterator[RunningOperator]:
    """Run the operator; leaving stops it: first the work, then the lease is given up."""
    configuration = await kubernetes_configuration(settings)
    parts = _build(settings, configuration, make_kinds)
    loops, health = Loops(), Health()
    stop, watches_began = asyncio.Event(), asyncio.Event()
    health.add_live(loops.ended)
    health.add_live(lambda: [f"the watch of {kind} misses changes" for kind in parts.audit.stale_watches()])
    health.add_ready(lambda: [] if watches_began.is_set() else ["the watches haven't begun"])
    watches = kopf.operator(
        registry=watching(parts.kinds, parts.intake, configuration),
        settings=watch_settings(settings.namespaces),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
        ready_flag=watches_began,
    )
    async with serving(health, parts.world.metrics, host=settings.http_host, port=settings.http_port) as port:
        loops.start("lease", parts.leadership.keep())
        loops.start("workers", parts.workers.run())
        loops.start("audit", parts.audit.run())
        loops.start("watches", watches)
        try:
            yield RunningOperator(http_port=port, loops=loops, watches_began=watches_began)
        finally:
            stop.set()
            await loops.cancel("workers", "audit", "lease")
            await parts.leadership.give_up()
            await loops.finish("watches", seconds_max=WATCHES_STOP_SECONDS_MAX)
            await parts.close()


def _build(settings: OperatorSettings, configuration: Configuration, make_kinds: MakeKinds) -> _Parts:
    metrics, fence, known, queue = OperatorMetrics(), Fence(), KnownResources(), WorkQueue()
    kubernetes = KubernetesClient(ApiClient(configuration), fence, metrics)
    # The lease itself is written before the fence opens.
    lease_client = KubernetesClient(ApiClient(configuration), open_fence(), metrics)
    world = World(settings=settings, kubernetes=kubernetes, fence=fence, known=known, metrics=metrics)
    kinds = Kinds(make_kinds(world))
    intake = Intake(kinds, known, queue, held=[kind.name for kind in kinds])
    leadership = Leadership(
        lease_client,
        fence,
        namespace=settings.own_namespace(),
        name=settings.lease_name,
        identity=new_identity(),
        lease_seconds=settings.lease_seconds,
        renew_seconds=settings.lease_renew_seconds,
        on_taken=intake.enqueue_all,
    )
    metrics.leading.set_function(lambda: float(leadership.leads))
    visitor = Visitor(known, kubernetes, StatusWriter(kubernetes))
    limits = WorkLimits(
        workers=settings.workers,
        resync_seconds=settings.resync_seconds,
        backoff_longest_seconds=settings.backoff_longest_seconds,
    )
    return _Parts(
        world=world,
        lease_client=lease_client,
        kinds=kinds,
        intake=intake,
        leadership=leadership,
        workers=Workers(kinds, known, queue, visitor, leadership, metrics, limits),
        audit=WatchAudit(
            kinds,
            known,
            intake,
            kubernetes,
            metrics,
            AuditScope(every_seconds=settings.audit_seconds, namespaces=settings.namespaces),
        ),
    )


async def kubernetes_configuration(settings: OperatorSettings) -> Configuration:
    """Find out where the API server is, and how to sign in."""
    configuration = Configuration()
    if settings.kubeconfig is not None:
        await load_kube_config(
            config_file=str(settings.kubeconfig), client_configuration=configuration, persist_config=False
        )
    else:
        load_incluster_config(client_configuration=configuration)
    configuration.connection_pool_maxsize = CONNECTIONS_MAX
    configuration.retries = 0
    return configuration

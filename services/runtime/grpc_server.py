"""A gRPC server in the running event loop, with what every one of ours has: health, reflection, errors, metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from services.runtime.grpc_errors import end_with_error
from services.runtime.grpc_surroundings import SurroundedMethods, Surroundings
from services.runtime.health import Health
from services.runtime.health_grpc import Leads, follow
from services.runtime.metrics import GrpcMetrics
from services.runtime.tracing import SpanRecorder

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""A batch call of 1,024 commands with their notes fits twice."""

CALLS_AT_ONCE_MAX = 4096
"""Calls above this are refused at once with RESOURCE_EXHAUSTED, which clients read as: try again."""

STOP_SECONDS_MAX = 5.0
"""How long calls under way may take when the server stops."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30_000),  # finds clients whose machine is gone
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # of gRPC's own pings, behind which a keepalive would wait for a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),  # lets clients ping idle connections
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_connection_age_ms", 300_000),  # clients then ask for names anew, and so find replicas that were added
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a second listener
)
"""Fit CHANNEL_OPTIONS of `grpc_channel`."""


@asynccontextmanager
async def serving_grpc(
    host: str,
    port: int,
    *,
    register: Callable[[grpc.aio.Server], None],
    service_names: Sequence[str],
    registry: CollectorRegistry | None = None,
    recorder: SpanRecorder | None = None,
    health: Health | None = None,
    leads: Leads | None = None,
    credentials: grpc.ServerCredentials | None = None,
    stop_seconds_max: float = STOP_SECONDS_MAX,
    on_stop: Callable[[], None] = lambda: None,
) -> AsyncIterator[str]:
    """Serve while the body runs, and yield the bound `host:port`.

    Args:
        host: The address to listen on.
        port: The port, or 0 for any free one.
        register: Adds the servicers.
        service_names: Their full names, for health and reflection.
        registry: Where calls are counted.
        recorder: Where calls are recorded as spans.
        health: What the health service says; without, it says that all is well.
        leads: Whether this is the replica that clients with a `grpc_leader` call; without, there is no such one.
        credentials: TLS, where it is wanted.
        stop_seconds_max: How long calls under way may take at the end.
        on_stop: Called when stopping begins: it asks long streams to end.

    Raises:
        OSError: The address can't be listened on.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS, maximum_concurrent_rpcs=CALLS_AT_ONCE_MAX)
    surroundings = Surroundings(GrpcMetrics(registry or CollectorRegistry()), end_with_error, recorder)
    methods = cast("grpc.aio.Server", _Methods(server, surroundings))
    register(methods)
    servicer = await _add_health(methods, service_names)
    _add_reflection(methods, service_names)
    bound_port = _listen(server, host, port, credentials)
    await server.start()
    following = asyncio.create_task(follow(health or Health(), servicer, service_names, leads), name="grpc-health")
    try:
        yield f"{_bracketed(host)}:{bound_port}"
    finally:
        following.cancel()
        await asyncio.wait({following})
        await servicer.enter_graceful_shutdown()
        on_stop()
        await server.stop(stop_seconds_max)


class _Methods:
    """The server as generated code sees it: methods are put into their surroundings, and found by their names.

    Generated code also registers each method with gRPC's core. For a registered one gRPC's asyncio server keeps a
    request open, and at every call it begins to wait for all of them anew: 45 methods made a call a third dearer.
    """

    def __init__(self, server: grpc.aio.Server, surroundings: Surroundings) -> None:
        self._server = server
        self._surroundings = surroundings

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add the methods of services."""
        self._server.add_generic_rpc_handlers([SurroundedMethods(methods, self._surroundings) for methods in handlers])

    def add_registered_method_handlers(self, _service_name: str, _method_handlers: object) -> None:
        """Register nothing."""


async def _add_health(server: grpc.aio.Server, service_names: Sequence[str]) -> health_aio.HealthServicer:
    servicer = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ("", *service_names):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return servicer


def _add_reflection(server: grpc.aio.Server, service_names: Sequence[str]) -> None:
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    servicer = reflection.aio.ReflectionServicer([*service_names, health_name, reflection.SERVICE_NAME])
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]


def _listen(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    address = f"{_bracketed(host)}:{port}"
    try:
        bound_port = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        raise OSError(f"gRPC can't listen on {address}") from error
    if not bound_port:
        raise OSError(f"gRPC can't listen on {address}")
    return bound_port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host

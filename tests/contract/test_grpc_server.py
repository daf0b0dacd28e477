"""What every gRPC server of ours does, seen by a client: health, reflection, traces, metrics, tokens."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from services.runtime.errors import ForbiddenError, RefusedError, UnauthenticatedError
from services.runtime.grpc_auth import call_metadata, principal_of, service_of, user_of
from services.runtime.grpc_channel import open_channel
from services.runtime.grpc_errors import translating_errors
from services.runtime.grpc_server import serving_grpc
from services.runtime.jwks import JwksClient
from services.runtime.jwt import JwtVerifier, Principal
from services.runtime.span_export import recording_spans
from services.runtime.tracing import continued_trace, current_trace
from tests.support.clock import VirtualClock
from tests.support.issuer import running_issuer
from tests.support.span_collector import collecting_spans
from tests.support.waiting import eventually

SERVICE = "test.Echo"
Context = grpc.aio.ServicerContext[Any, Any]


async def echo(request: bytes, context: Context) -> bytes:
    if request == b"refuse":
        raise RefusedError("No.", reason="refused_here")
    if request == b"fail":
        raise ValueError("a mistake of ours")
    return request


async def echo_thrice(request: bytes, context: Context) -> AsyncIterator[bytes]:
    for _ in range(3):
        yield await echo(request, context)


async def write_thrice(request: bytes, context: Context) -> None:
    for _ in range(3):
        await context.write(await echo(request, context))


async def join(requests: AsyncIterator[bytes], context: Context) -> bytes:
    return b"".join([await echo(request, context) async for request in requests])


async def echo_each(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
    async for request in requests:
        yield await echo(request, context)


async def trace_id(request: bytes, context: Context) -> bytes:
    trace = current_trace()
    return b"" if trace is None else trace.trace_id.encode()


HANDLERS: dict[str, Any] = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "EchoThrice": grpc.unary_stream_rpc_method_handler(echo_thrice),
    "WriteThrice": grpc.unary_stream_rpc_method_handler(write_thrice),
    "Join": grpc.stream_unary_rpc_method_handler(join),
    "EchoEach": grpc.stream_stream_rpc_method_handler(echo_each),
    "TraceId": grpc.unary_unary_rpc_method_handler(trace_id),
}


@asynccontextmanager
async def serving(handlers: Mapping[str, Any] = HANDLERS, **options: Any) -> AsyncIterator[Any]:
    def register(server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, dict(handlers)),))

    async with (
        serving_grpc("127.0.0.1", 0, register=register, service_names=[SERVICE], **options) as target,
        open_channel(target) as channel,
    ):
        yield channel


@pytest.fixture
async def channel() -> AsyncIterator[Any]:
    async with serving() as opened:
        yield opened


def method(name: str) -> str:
    return f"/{SERVICE}/{name}"


async def refuses_connections(target: str) -> bool:
    host, _, port = target.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return True
    writer.close()
    await writer.wait_closed()
    return False


async def each_of(*requests: bytes) -> AsyncIterator[bytes]:
    for request in requests:
        yield request


async def test_a_call_costs_the_same_however_many_methods_there_are() -> None:
    async with serving():  # health and reflection are generated code, which would register theirs
        waits = {str(getattr(task.get_coro(), "__name__", "")) for task in asyncio.all_tasks()}
        assert "_request_call" in waits
        assert "_request_registered_call" not in waits


async def test_every_kind_of_call_works(channel: Any) -> None:
    assert await channel.unary_unary(method("Echo"))(b"a", timeout=5) == b"a"
    assert [part async for part in channel.unary_stream(method("EchoThrice"))(b"a", timeout=5)] == [b"a"] * 3
    assert [part async for part in channel.unary_stream(method("WriteThrice"))(b"a", timeout=5)] == [b"a"] * 3
    assert await channel.stream_unary(method("Join"))(each_of(b"a", b"b"), timeout=5) == b"ab"
    both = channel.stream_stream(method("EchoEach"))(each_of(b"a", b"b"), timeout=5)
    assert [part async for part in both] == [b"a", b"b"]


@pytest.mark.parametrize(("request_", "failed"), [(b"refuse", False), (b"fail", True), (b"a", False)])
async def test_only_a_call_that_failed_here_is_recorded_as_an_error(request_: bytes, *, failed: bool) -> None:
    with collecting_spans() as collector, recording_spans("echo", collector.url) as recorder:
        async with serving(recorder=recorder) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            await health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5)
            with suppress(grpc.aio.AioRpcError):
                await channel.unary_unary(method("Echo"))(request_, timeout=5)

    # That gRPC's own health service was asked too is nothing that a collector needs to keep.
    (span,) = collector.spans
    assert ("error" in span.get("tags", {})) is failed
    expected = {b"refuse": "FAILED_PRECONDITION", b"fail": "INTERNAL"}
    assert span.get("tags", {}).get("rpc.response.status_code") == expected.get(request_)


async def test_every_kind_of_call_ends_with_the_error_of_its_handler(channel: Any) -> None:
    async def drain(parts: AsyncIterator[bytes]) -> None:
        async for _ in parts:
            pass

    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: channel.unary_unary(method("Echo"))(b"refuse", timeout=5),
        lambda: drain(aiter(channel.unary_stream(method("EchoThrice"))(b"refuse", timeout=5))),
        lambda: drain(aiter(channel.unary_stream(method("WriteThrice"))(b"refuse", timeout=5))),
        lambda: channel.stream_unary(method("Join"))(each_of(b"a", b"refuse"), timeout=5),
        lambda: drain(aiter(channel.stream_stream(method("EchoEach"))(each_of(b"a", b"refuse"), timeout=5))),
    ]

    for call in calls:
        with pytest.raises(RefusedError) as raised, translating_errors():
            await call()
        assert raised.value.reason == "refused_here"


async def test_the_server_tells_its_health(channel: Any) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)

    for name in ("", SERVICE):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_whoever_watches_its_health_is_no_call_that_takes_long() -> None:
    registry = CollectorRegistry()
    async with serving(registry=registry) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=5)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
        watching.cancel()
        await channel.unary_unary(method("Echo"))(b"a", timeout=5)

    measured = {sample.labels.get("method") for metric in registry.collect() for sample in metric.samples}
    assert measured == {method("Echo")}


async def test_the_server_lists_its_services(channel: Any) -> None:
    untyped_channel: Any = channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(untyped_channel)

    async def requests() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async for answer in stub.ServerReflectionInfo(requests(), timeout=5):
        listed = {service.name for service in answer.list_services_response.service}
        break
    else:
        listed = set()

    assert {SERVICE, "grpc.health.v1.Health"} <= listed


async def test_the_callers_trace_goes_on(channel: Any) -> None:
    with continued_trace(None) as trace:
        seen = await channel.unary_unary(method("TraceId"))(b"", metadata=call_metadata("token"), timeout=5)

    assert seen.decode() == trace.trace_id


async def test_a_call_without_a_trace_begins_one(channel: Any) -> None:
    first = await channel.unary_unary(method("TraceId"))(b"", timeout=5)
    second = await channel.unary_unary(method("TraceId"))(b"", timeout=5)

    assert first != second
    assert len(first) == 32


async def test_calls_are_counted_by_method_and_status() -> None:
    registry = CollectorRegistry()

    def count(name: str, code: str) -> float:
        labels = {"method": method(name), "code": code}
        return registry.get_sample_value("tradeflow_grpc_call_duration_seconds_count", labels) or 0.0

    async with serving(registry=registry) as channel:
        await channel.unary_unary(method("Echo"))(b"a", timeout=5)
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(method("Echo"))(b"refuse", timeout=5)
        await eventually(lambda: count("Echo", "OK") == 1)
        await eventually(lambda: count("Echo", "FAILED_PRECONDITION") == 1)

    assert registry.get_sample_value("tradeflow_grpc_calls_in_progress", {"method": method("Echo")}) == 0


async def hang(request: bytes, context: Context) -> bytes:
    await asyncio.Event().wait()
    return request


async def begin_and_hang(request: bytes, context: Context) -> AsyncIterator[bytes]:
    yield request
    await asyncio.Event().wait()


HANGING: dict[str, Any] = {
    "Hang": grpc.unary_unary_rpc_method_handler(hang),
    "BeginAndHang": grpc.unary_stream_rpc_method_handler(begin_and_hang),
}


def has_counted(registry: CollectorRegistry, name: str, code: str) -> bool:
    """Tell whether one call of the method was counted, under this code alone."""
    counted = [
        (sample.labels["code"], sample.value)
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "tradeflow_grpc_call_duration_seconds_count" and sample.labels["method"] == method(name)
    ]
    return counted == [(code, 1)]


@pytest.mark.parametrize("timeout_seconds", [0.05, 0.3, 1.0])
async def test_a_call_that_gets_no_answer_in_time_is_counted_as_that(timeout_seconds: float) -> None:
    registry = CollectorRegistry()
    handlers = {"Echo": HANDLERS["Echo"], **HANGING}
    async with serving(handlers, registry=registry) as channel:
        # The client sends this call's time again with the next one, so that the server sees some of it left.
        await channel.unary_unary(method("Echo"))(b"a", timeout=timeout_seconds * 1.028)
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await channel.unary_unary(method("Hang"))(b"", timeout=timeout_seconds)
        with pytest.raises(grpc.aio.AioRpcError) as late_stream:
            async for _ in channel.unary_stream(method("BeginAndHang"))(b"", timeout=timeout_seconds):
                pass

        for name in HANGING:
            await eventually(partial(has_counted, registry, name, "DEADLINE_EXCEEDED"))

    assert {late.value.code(), late_stream.value.code()} == {grpc.StatusCode.DEADLINE_EXCEEDED}


@pytest.mark.parametrize("timeout_seconds", [None, 30])
@pytest.mark.parametrize("name", ["Hang", "BeginAndHang"])
async def test_a_call_that_its_client_gives_up_is_counted_as_cancelled(
    name: str, timeout_seconds: float | None
) -> None:
    registry = CollectorRegistry()
    in_progress = {"method": method(name)}
    async with serving(HANGING, registry=registry) as channel:
        kind = channel.unary_stream if name == "BeginAndHang" else channel.unary_unary
        call = kind(method(name))(b"", timeout=timeout_seconds)
        await eventually(lambda: registry.get_sample_value("tradeflow_grpc_calls_in_progress", in_progress) == 1)

        call.cancel()

        await eventually(lambda: has_counted(registry, name, "CANCELLED"))


async def test_a_stream_that_its_client_leaves_ends() -> None:
    registry = CollectorRegistry()
    left = asyncio.Event()

    async def endless(request: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0.01)
        finally:
            left.set()

    async with serving({"Endless": grpc.unary_stream_rpc_method_handler(endless)}, registry=registry) as channel:
        call = channel.unary_stream(method("Endless"))(b"")
        assert await call.read() == b"x"

        call.cancel()

        await asyncio.wait_for(left.wait(), 5)
        in_progress = "tradeflow_grpc_calls_in_progress"
        await eventually(lambda: registry.get_sample_value(in_progress, {"method": method("Endless")}) == 0)


async def test_a_call_under_way_may_finish_when_the_server_stops() -> None:
    began = asyncio.Event()
    release = asyncio.Event()

    async def slow(request: bytes, context: Context) -> bytes:
        began.set()
        await release.wait()
        return b"finished"

    def register(server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {"Slow": grpc.unary_unary_rpc_method_handler(slow)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    server = serving_grpc("127.0.0.1", 0, register=register, service_names=[SERVICE])
    target = await server.__aenter__()
    async with open_channel(target) as opened:
        channel: Any = opened
        call = asyncio.ensure_future(channel.unary_unary(method("Slow"))(b"", timeout=10))
        await began.wait()
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        await eventually(lambda: refuses_connections(target))
        release.set()

        assert await call == b"finished"
        await asyncio.wait_for(stopping, 30)


async def test_a_call_that_never_ends_does_not_hold_up_the_stop() -> None:
    began = asyncio.Event()

    async def endless(request: bytes, context: Context) -> bytes:
        began.set()
        await asyncio.Event().wait()
        return b""

    handlers: dict[str, Any] = {"Endless": grpc.unary_unary_rpc_method_handler(endless)}
    async with asyncio.timeout(60):
        async with serving(handlers, stop_seconds_max=0.1) as channel:
            call = asyncio.ensure_future(channel.unary_unary(method("Endless"))(b""))
            await began.wait()
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await call


async def test_a_taken_port_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            async with serving_grpc("127.0.0.1", port, register=lambda _: None, service_names=[]):
                pass


async def test_a_second_server_on_the_same_port_is_refused() -> None:
    async with serving_grpc("127.0.0.1", 0, register=lambda _: None, service_names=[]) as target:
        port = int(target.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            async with serving_grpc("127.0.0.1", port, register=lambda _: None, service_names=[]):
                pass


async def test_a_call_carries_its_service_and_its_user() -> None:
    clock = VirtualClock()
    seen: list[tuple[Principal, Principal | None]] = []
    async with running_issuer(clock=clock) as issuer:
        keys = JwksClient(issuer.jwks_url)
        verifier = JwtVerifier(keys, issuer.issuer, "ledger", clock)

        async def who(request: bytes, context: Context) -> bytes:
            caller = await (service_of if request == b"services only" else principal_of)(context, verifier)
            seen.append((caller, await user_of(context, verifier)))
            return b""

        async with serving({"Who": grpc.unary_unary_rpc_method_handler(who)}) as channel:
            call = channel.unary_unary(method("Who"))
            service, user = issuer.service_token("orders", "ledger"), issuer.user_token("user-1")
            await call(b"services only", metadata=call_metadata(service, user_token=user), timeout=5)
            await call(b"services only", metadata=call_metadata(service), timeout=5)
            await call(b"", metadata=call_metadata(user), timeout=5)
            with pytest.raises(ForbiddenError, match="services"), translating_errors():
                await call(b"services only", metadata=call_metadata(user), timeout=5)
            with pytest.raises(UnauthenticatedError) as missing, translating_errors():
                await call(b"", timeout=5)
            with pytest.raises(UnauthenticatedError) as bad_user, translating_errors():
                await call(b"", metadata=call_metadata(service, user_token="x"), timeout=5)
        await keys.aclose()

    callers = [(caller.subject, None if user is None else user.subject) for caller, user in seen]
    assert callers == [("orders", "user-1"), ("orders", None), ("user-1", None)]
    assert missing.value.reason == "token_missing"
    assert bad_user.value.reason == "token_malformed"

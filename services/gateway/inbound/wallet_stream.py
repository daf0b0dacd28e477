"""A wallet's events as server-sent events: GET /api/v1/wallet/events, the WebSocket's twin where those don't pass.

Each message is an event named by its `type` with the same JSON; `id` is the sequence to come back with, which browsers
send as Last-Event-ID by themselves. A `close` event says why the server ends the stream.
"""

import asyncio
import contextlib
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.inbound.connection_door import ConnectionDoor
from services.gateway.inbound.delivery import deliver, last_sequence_of, message_json, message_type
from services.gateway.inbound.rate_limits import RATE_LIMITED, ROUTE_CLASS_OPTION
from services.gateway.metrics import GatewayMetrics
from services.gateway.wallet_feed import Subscription
from services.gateway.wallet_session import Ending, Heartbeat, ServerMessage, SessionParts, WalletSession
from services.runtime.http_auth import PUBLIC
from services.runtime.http_openapi import TOKEN_REFUSALS, problem_responses

RETRY_MILLISECONDS = 1000
"""How long browsers wait before they come back."""

LAST_WORD_SECONDS_MAX = 2.0
"""How long the closing event may wait for a slow reader."""

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


class StreamDoor:
    """Opens and runs event streams."""

    def __init__(self, parts: SessionParts, door: ConnectionDoor, metrics: GatewayMetrics) -> None:
        """Serve from `parts` whom `door` lets in."""
        self._parts = parts
        self._door = door
        self._metrics = metrics

    async def open(self, request: Request[Any, Any, Any], last_sequence: int | None) -> ASGIApp:
        """Prepare a stream and return what sends it; what goes wrong before the first byte is a problem.

        Raises:
            TradeFlowError: Not signed in, or nothing to read from.
        """
        owner = await self._door.authenticate(request)
        cleanup = contextlib.ExitStack()
        try:
            subscription = cleanup.enter_context(self._parts.feed.subscribed(owner.subject))
            session = WalletSession(self._parts, subscription, owner, last_sequence)
            await session.prepare()
        except BaseException:
            cleanup.close()
            raise

        async def stream(_scope: Scope, receive: Receive, send: Send) -> None:
            with cleanup, self._metrics.connections.labels("sse").track_inprogress():
                await self._run(session, subscription, receive, send)

        return stream

    async def _run(self, session: WalletSession, subscription: Subscription, receive: Receive, send: Send) -> None:
        async def send_message(message: ServerMessage) -> None:
            await send(_body(_event(message, session.position)))

        async def client_left() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send(_body(f"retry: {RETRY_MILLISECONDS}\n\n"))
        ending = await deliver(session, subscription, send=send_message, client_left=client_left)
        if ending is None:
            return
        self._metrics.endings.labels(ending.reason).inc()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS_MAX):
                await send(_body(_closing_event(ending)))
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def stream_routes(*, parts: SessionParts, door: ConnectionDoor, metrics: GatewayMetrics) -> list[HTTPRouteHandler]:
    """Make the route."""
    streams = StreamDoor(parts, door, metrics)

    @get(
        "/api/v1/wallet/events",
        operation_id="streamWalletEvents",
        tags=["wallet"],
        opt={ROUTE_CLASS_OPTION: "socket", **PUBLIC},
        media_type="text/event-stream",
        security=[{"bearer": []}, {}],  # or a ticket
        responses=problem_responses(
            {
                **RATE_LIMITED,
                400: "validation_failed, last_sequence_malformed",
                401: ", ".join((*TOKEN_REFUSALS, "ticket_invalid")),
                403: "user_required: a service calls",
                429: "rate_limited, too_many_connections: come back after Retry-After",
            }
        ),
    )
    async def stream_wallet_events(
        request: Request[Any, Any, Any],
        last_sequence: Annotated[str | None, QueryParameter(description="The last sequence the client has.")] = None,
        ticket: Annotated[  # noqa: ARG001 (here for the description; the door reads it)
            str | None, QueryParameter(description="From POST /auth/ticket, where no Authorization header can be sent.")
        ] = None,
    ) -> ASGIApp:
        """Stream the wallet's events: hello, what was missed after `last_sequence` or Last-Event-ID, then live ones."""
        return await streams.open(request, last_sequence_of(request.headers.get("last-event-id") or last_sequence))

    return [stream_wallet_events]


def _event(message: ServerMessage, position: int) -> str:
    identity = "" if isinstance(message, Heartbeat) else f"id: {position}\n"
    return f"{identity}event: {message_type(message)}\ndata: {message_json(message)}\n\n"


def _closing_event(ending: Ending) -> str:
    content = msgspec.json.encode({"type": "close", "code": ending.code, "reason": ending.reason}).decode()
    return f"event: close\ndata: {content}\n\n"


def _body(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}

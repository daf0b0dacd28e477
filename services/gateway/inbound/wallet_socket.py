"""A wallet's events over a WebSocket: /ws/notifications.

Refusals that a browser's script should see come as close codes after the handshake (3000 for a bad ticket or token);
what only a programmer sees (a malformed number, too many attempts, nothing to read from) is an HTTP answer before it.
"""

import asyncio
import contextlib
from typing import Any

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import WebsocketRouteHandler
from litestar.plugins.problem_details import ProblemDetailsException

from services.gateway.inbound.connection_door import ConnectionDoor
from services.gateway.inbound.delivery import deliver, last_sequence_of, message_json
from services.gateway.metrics import GatewayMetrics
from services.gateway.wallet_feed import Subscription
from services.gateway.wallet_session import Ending, ServerMessage, SessionParts, WalletSession
from services.runtime.errors import ForbiddenError, TradeFlowError, UnauthenticatedError
from services.runtime.http_auth import CLOSE_CODE_UNAUTHORIZED, PUBLIC
from services.runtime.http_errors import PROBLEM_MEDIA_TYPE, problem_of_error
from services.runtime.jwt import Principal

AnySocket = WebSocket[Any, Any, Any]

CLOSE_SECONDS_MAX = 5.0
"""How long a close may wait behind what a slow reader hasn't read."""


class SocketDoor:
    """Opens and runs WebSockets."""

    def __init__(self, parts: SessionParts, door: ConnectionDoor, metrics: GatewayMetrics) -> None:
        """Serve from `parts` whom `door` lets in."""
        self._parts = parts
        self._door = door
        self._metrics = metrics

    async def serve(self, socket: AnySocket) -> None:
        """Run one connection, from the handshake to its end."""
        await socket.receive()
        try:
            last_sequence = last_sequence_of(socket.query_params.get("last_sequence"))
            await self._door.admit_address(socket.scope)
            owner = await self._door.authenticate(socket)
            await self._door.admit_user(socket.scope, owner)
            await self._run(socket, owner, last_sequence)
        except (UnauthenticatedError, ForbiddenError) as error:
            await _refuse_after_handshake(socket, error)
        except TradeFlowError as error:
            await _refuse_handshake(socket, problem_of_error(error))
        except ProblemDetailsException as problem:
            await _refuse_handshake(socket, problem)

    async def _run(self, socket: AnySocket, owner: Principal, last_sequence: int | None) -> None:
        with self._parts.feed.subscribed(owner.subject) as subscription:
            session = WalletSession(self._parts, subscription, owner, last_sequence)
            await session.prepare()
            with self._metrics.connections.labels("websocket").track_inprogress():
                await self._converse(socket, session, subscription)

    async def _converse(self, socket: AnySocket, session: WalletSession, subscription: Subscription) -> None:
        async def send(message: ServerMessage) -> None:
            await socket.send_data(message_json(message))

        async def client_left() -> None:
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass  # what clients say is of no interest; pings are answered by the server below us

        try:
            await socket.send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            ending = await deliver(session, subscription, send=send, client_left=client_left)
        except WebSocketDisconnect:
            return
        if ending is not None:
            self._metrics.endings.labels(ending.reason).inc()
            await _close(socket, ending)


def socket_routes(*, parts: SessionParts, door: ConnectionDoor, metrics: GatewayMetrics) -> list[WebsocketRouteHandler]:
    """Make the route."""
    sockets = SocketDoor(parts, door, metrics)

    @websocket("/ws/notifications", opt=PUBLIC)
    async def notifications(socket: AnySocket) -> None:
        await sockets.serve(socket)

    return [notifications]


async def _close(socket: AnySocket, ending: Ending) -> None:
    """Close, unless the client is gone or never reads."""
    with contextlib.suppress(TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await socket.send({"type": "websocket.close", "code": ending.code, "reason": ending.reason})


async def _refuse_after_handshake(socket: AnySocket, error: TradeFlowError) -> None:
    """Accept and close: scripts in browsers see close codes, and nothing of a failed handshake."""
    await socket.send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    await _close(socket, Ending(code=CLOSE_CODE_UNAUTHORIZED, reason=error.reason))


async def _refuse_handshake(socket: AnySocket, problem: ProblemDetailsException) -> None:
    """Answer the handshake with an HTTP problem.

    Source: https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response
    """
    body = msgspec.json.encode(
        {
            "type": problem.type_,
            "title": problem.title,
            "status": problem.status_code,
            "detail": problem.detail,
            **(problem.extra if isinstance(problem.extra, dict) else {}),
        }
    )
    headers = {"Content-Type": PROBLEM_MEDIA_TYPE, **(problem.headers or {})}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await socket.send({"type": "websocket.http.response.start", "status": problem.status_code, "headers": encoded})
    await socket.send({"type": "websocket.http.response.body", "body": body, "more_body": False})

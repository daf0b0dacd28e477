"""The streaming reverse proxy to orders and the ledger.

Source: RFC 9110, section 7.6 (what a proxy passes on), RFC 9112, section 6 (message framing).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
import structlog
from aiohttp import (
    ClientConnectionError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from litestar import Request
from litestar.exceptions import HTTPException, InternalServerException
from litestar.plugins.problem_details import ProblemDetailsException
from litestar.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from services.gateway.inbound.client_address import Network, client_address, is_from_trusted_proxy
from services.gateway.metrics import GatewayMetrics
from services.runtime.budget import ANSWER_SECONDS, render_budget
from services.runtime.budget import HEADER as BUDGET
from services.runtime.errors import InvalidArgumentError, TradeFlowError, UnavailableError
from services.runtime.http_errors import TYPE_PREFIX
from services.runtime.tracing import HEADER as TRACEPARENT
from services.runtime.tracing import current_traceparent

logger = structlog.get_logger(__name__)

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers about one connection, not about the message; so is what `Connection` names (RFC 9110, section 7.6.1)."""

WRITTEN_BY_US = frozenset(
    {
        b"host",
        b"expect",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-port",
        b"x-real-ip",
        TRACEPARENT.encode(),
        BUDGET.encode(),
    }
)
"""Request headers that a caller doesn't get to choose."""

ANSWERED_BY_US = frozenset({b"date", b"server"})
"""Response headers that our own server writes."""

CONNECT_SECONDS_MAX = 2.0
"""How long making a connection may take, inside one network."""

CONNECTIONS_MAX = 256
"""To each service, by one replica; more calls than that wait."""

HEADERS_BYTES_MAX = 64 * 1024
"""Of an answer's status line, and of each of its headers."""

KEEP_ALIVE_SECONDS = 30.0
"""How long an idle connection is kept: less than the services keep theirs (75 s), so that we close first."""

FIRST_VISIBLE = 0x20
"""Bytes below are control characters."""

RETRY_AFTER_SECONDS = 2.0
"""What callers are told while a service is away."""


def new_proxy_session(*, seconds_max: float) -> ClientSession:
    """Make the connections that proxied calls share; nothing is added to a request, and nothing decoded in an answer.

    A GET whose connection broke is sent once more by aiohttp: it may have been an idle one that the service closed.
    """
    return ClientSession(
        connector=TCPConnector(limit=0, limit_per_host=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_SECONDS),
        timeout=ClientTimeout(total=None, sock_connect=min(CONNECT_SECONDS_MAX, seconds_max), sock_read=seconds_max),
        cookie_jar=DummyCookieJar(),
        skip_auto_headers=["accept", "accept-encoding", "content-type", "user-agent"],
        auto_decompress=False,
        max_line_size=HEADERS_BYTES_MAX,
        max_field_size=HEADERS_BYTES_MAX,
    )


class Proxy:
    """Sends requests on and their answers back."""

    def __init__(
        self,
        http: ClientSession,
        *,
        seconds_max: float,
        trusted_proxies: Sequence[Network],
        metrics: GatewayMetrics,
    ) -> None:
        """Send over `http`, which its owner closes."""
        self._http = http
        self._seconds_max = seconds_max
        self._trusted_proxies = trusted_proxies
        self._metrics = metrics

    async def forward(self, request: Request[Any, Any, Any], base_url: str) -> ASGIApp:
        """Send a request on as it is, and return what streams the answer back.

        Raises:
            InvalidArgumentError: The path has segments that servers read differently, a header isn't UTF-8, or the
                request ended in the middle.
            UnavailableError: The service can't be reached, or broke off.
            ProblemDetailsException: 504, the service took too long.
            RequestEntityTooLarge: The body is over the limit; the service didn't get all of it.
        """
        path = _safe_path(request.scope["raw_path"])
        query = request.scope["query_string"]
        target = path + b"?" + query if query else path
        # The server's own parser takes nothing but ASCII here.
        url = URL(f"{base_url.rstrip('/')}{target.decode('ascii')}", encoded=True)
        headers = self._request_headers(request)
        body = _body_of(request) if _has_body(request) else None
        return _streaming(await self._send(request.method, url, headers, body))

    async def send_own(
        self,
        request: Request[Any, Any, Any],
        url: str,
        *,
        body: bytes,
        passed_on: Sequence[str],
        added: Mapping[str, str] = MappingProxyType({}),
        told: Mapping[str, object] = MappingProxyType({}),
    ) -> ASGIApp:
        """Send a POST of our own on behalf of a caller, with some of the caller's headers; raises as `forward`.

        `told` are members that the answer gets besides its own, if it is one of success.
        """
        headers = [
            (name.lower().encode(), request.headers[name].encode("latin-1"))
            for name in passed_on
            if name in request.headers
        ]
        framing = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        own = [(name.encode(), value.encode()) for name, value in added.items()]
        all_headers = [*headers, *own, *framing, *self._own_headers(request)]
        response = await self._send("POST", URL(url, encoded=True), all_headers, body)
        if told and response.ok:
            return _whole(response, await self._completed(response, told))
        return _streaming(response)

    async def _completed(self, response: ClientResponse, told: Mapping[str, object]) -> bytes:
        """Read an answer, a short JSON object, and put more members into it."""
        try:
            async with asyncio.timeout(self._seconds_max):
                members = msgspec.json.decode(await response.read(), type=dict[str, msgspec.Raw])
        except (ClientError, TimeoutError, msgspec.DecodeError) as error:
            self._note("broken", response.url, error)
            raise _unavailable() from error
        finally:
            response.close()
        return msgspec.json.encode({**members, **told})

    async def _send(
        self, method: str, url: URL, headers: list[tuple[bytes, bytes]], body: bytes | AsyncIterator[bytes] | None
    ) -> ClientResponse:
        budget = (BUDGET, render_budget(self._seconds_max - ANSWER_SECONDS))
        try:
            async with asyncio.timeout(self._seconds_max):
                return await self._http.request(
                    method, url, headers=[*_as_text(headers), budget], data=body, allow_redirects=False
                )
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            self._note("unreachable", url, error)
            raise _unavailable() from error
        except TimeoutError as error:
            self._note("timeout", url, error)
            raise _timed_out() from error
        except ClientError as error:
            if isinstance(error, ClientConnectionError) and isinstance(error.__cause__, HTTPException | TradeFlowError):
                raise error.__cause__ from None  # the caller's body was it
            self._note("broken", url, error)
            raise _unavailable() from error

    def _request_headers(self, request: Request[Any, Any, Any]) -> list[tuple[bytes, bytes]]:
        sent = list(request.scope["headers"])
        dropped = WRITTEN_BY_US | _connection_headers(sent)
        if any(name == b"transfer-encoding" for name, _ in sent):
            dropped |= {b"content-length"}  # RFC 9112, section 6.1: of both, the former counts
        kept = [(name, value) for name, value in sent if name not in dropped]
        return [*kept, *self._own_headers(request)]

    def _own_headers(self, request: Request[Any, Any, Any]) -> list[tuple[bytes, bytes]]:
        believed = is_from_trusted_proxy(request.scope, self._trusted_proxies)
        scheme = request.headers.get("x-forwarded-proto") if believed else None
        host = request.headers.get("x-forwarded-host") if believed else None
        headers: dict[str, str] = {
            "x-forwarded-for": client_address(request.scope, self._trusted_proxies),
            "x-forwarded-proto": scheme or request.scope["scheme"],
            "x-forwarded-host": host or request.headers.get("host") or "",
            TRACEPARENT: current_traceparent(),
        }
        return [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value]

    def _note(self, reason: str, url: URL, error: Exception) -> None:
        self._metrics.upstream_failures.labels(reason).inc()
        logger.warning("upstream_failed", reason=reason, host=url.authority, error=repr(error))


def _streaming(response: ClientResponse) -> ASGIApp:
    """Make what sends an answer on, piece by piece, as its bytes are: compressed ones stay so."""

    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            headers = _response_headers(response.raw_headers)
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            async for piece in response.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (ClientError, TimeoutError) as error:
            # The status is out: all that is left is to break off, so that the caller doesn't take a part for the whole.
            logger.warning("upstream_broke_off", error=repr(error))
        finally:
            response.close()  # what was read to its end has given its connection back

    return stream


def _whole(response: ClientResponse, body: bytes) -> ASGIApp:
    """Make what sends another body in an answer's place."""
    kept = [(name, value) for name, value in _response_headers(response.raw_headers) if name != b"content-length"]
    headers = [*kept, (b"content-length", str(len(body)).encode())]

    async def send_whole(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return send_whole


def _response_headers(received: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    lowered = [(name.lower(), value) for name, value in received]
    dropped = ANSWERED_BY_US | _connection_headers(lowered)
    kept = [(name, value) for name, value in lowered if name not in dropped]
    # Who signs out leaves nothing of a wallet in the browser's cache, nor in one that was told to keep all answers.
    return kept if any(name == b"cache-control" for name, _ in kept) else [*kept, (b"cache-control", b"no-store")]


def _connection_headers(headers: Sequence[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """Tell which headers end here: the usual ones, and those that `Connection` names."""
    named = [token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")]
    return HOP_BY_HOP | frozenset(named)


def _has_body(request: Request[Any, Any, Any]) -> bool:
    headers: Mapping[str, str] = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


async def _body_of(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            if piece:
                yield piece
    except InternalServerException as error:
        raise InvalidArgumentError("The request ended in the middle.", reason="request_incomplete") from error


def _safe_path(raw_path: bytes) -> bytes:
    """Return the path as it was sent, unless servers would disagree about where it leads.

    Raises:
        InvalidArgumentError: It has dot segments, encoded slashes, backslashes or control characters.
    """
    decoded = unquote_to_bytes(raw_path)
    slashes_are_plain = decoded.count(b"/") == raw_path.count(b"/")
    is_plain = slashes_are_plain and b"\\" not in decoded and min(decoded, default=FIRST_VISIBLE) >= FIRST_VISIBLE
    if not is_plain or {b".", b".."} & set(decoded.split(b"/")):
        raise InvalidArgumentError("The path has segments that are not allowed here.", reason="path_malformed")
    return raw_path


def _as_text(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return headers as aiohttp takes them: it writes UTF-8, so that only what is UTF-8 stays as it is.

    Raises:
        InvalidArgumentError: A value isn't.
    """
    try:
        return [(name.decode("ascii"), value.decode()) for name, value in headers]
    except UnicodeDecodeError as error:
        raise InvalidArgumentError("The headers have to be UTF-8.", reason="header_malformed") from error


def _unavailable() -> UnavailableError:
    return UnavailableError(
        "The service behind this route can't be reached.",
        reason="upstream_unavailable",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


def _timed_out() -> ProblemDetailsException:
    return ProblemDetailsException(
        status_code=504,
        type_=f"{TYPE_PREFIX}upstream_timeout",
        title="Upstream timeout",
        detail="The service behind this route took too long; whether the call had an effect isn't known. Repeat it "
        "with the same Idempotency-Key.",
        extra={"reason": "upstream_timeout"},
    )

"""The Kubernetes API with plain dictionaries, on the official client's connection and credentials."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import structlog
from kubernetes.aio.client import ApiClient

from tradeflow_operator import GROUP, VERSION
from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.metrics import OperatorMetrics

logger = structlog.get_logger(__name__)

READ_SECONDS_MAX = 10.0
"""How long one read may take."""

WRITE_SECONDS_MAX = 5.0
"""How long one write may take; less when the lease has less left."""

FIELD_MANAGER = "tradeflow-operator"
"""Who acts, as requests and Events say it."""

MERGE_PATCH = "application/merge-patch+json"

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Asks for a listing without specs and statuses."""

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class ApiConflictError(UnavailableError):
    """Somebody else wrote first, or the object is another one by now."""

    def __init__(self, message: str) -> None:
        """Say it."""
        super().__init__(message, reason="ApiConflict", retry_after_seconds=0.2)


class AlreadyExistsError(ApiConflictError):
    """An object of that name is there."""


def resource_path(plural: str, namespace: str, name: str = "", *, subresource: str = "") -> str:
    """Name a resource of our group."""
    return object_path(f"apis/{GROUP}/{VERSION}", plural, namespace, name, subresource=subresource)


def object_path(api: str, plural: str, namespace: str | None, name: str = "", *, subresource: str = "") -> str:
    """Name any object: `object_path("api/v1", "secrets", "shop", "keys")`; no name is the whole collection."""
    place = f"namespaces/{quote(namespace, safe='')}/" if namespace else ""
    parts = [f"/{api}/{place}{plural}", quote(name, safe=""), subresource]
    return "/".join(part for part in parts if part)


class KubernetesClient:
    """Reads, and writes within the fence.

    All calls raise:
        UnavailableError: `KubernetesUnavailable`; try again.
        RefusedError: `KubernetesRefused`: not allowed, or not valid; the message is the API server's.
    """

    def __init__(self, api: ApiClient, fence: Fence, metrics: OperatorMetrics) -> None:
        """Take a connection; it is closed with this client."""
        self._api = api
        self._api.user_agent = FIELD_MANAGER
        self._fence = fence
        self._metrics = metrics

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def read(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any] | None:
        """Read an object or a list; None when there is none."""
        return await self._ask("GET", path, seconds=READ_SECONDS_MAX, query=query, missing_is_none=True)

    async def list_metadata(self, path: str, *, limit: int, token: str = "", selector: str = "") -> dict[str, Any]:
        """Read one chunk of a listing, without specs and statuses; `metadata.continue` is the next chunk's token."""
        query = {"limit": str(limit), "continue": token, "labelSelector": selector}
        query = {name: value for name, value in query.items() if value}
        return await self._ask("GET", path, seconds=READ_SECONDS_MAX, query=query, accept=METADATA_LIST) or {}

    async def is_terminating(self, namespace: str) -> bool:
        """Tell whether a namespace is being deleted."""
        body = await self.read(f"/api/v1/namespaces/{quote(namespace, safe='')}")
        return body is None or bool(body["metadata"].get("deletionTimestamp"))

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in a collection.

        Raises:
            AlreadyExistsError: One of that name is there.
        """
        return await self._write("POST", path, body=body) or {}

    async def patch(self, path: str, patch: Mapping[str, Any]) -> dict[str, Any] | None:
        """Change fields by JSON merge patch; None when the object is gone.

        A `metadata.uid` or `metadata.resourceVersion` in the patch has to fit what is there.

        Raises:
            ApiConflictError: It doesn't fit.
        """
        return await self._write("PATCH", path, body=patch, content_type=MERGE_PATCH, missing_is_none=True)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object as a whole; with a `metadata.resourceVersion` only if nobody wrote since.

        Raises:
            ApiConflictError: Somebody wrote, or deleted it.
        """
        written = await self._write("PUT", path, body=body, missing_is_none=True)
        if written is None:
            raise ApiConflictError(f"PUT {path}: it is gone")
        return written

    async def delete(self, path: str, *, uid: str | None = None) -> None:
        """Delete an object if it is there, and if it is the one with this uid."""
        body = {"propagationPolicy": "Background", **({"preconditions": {"uid": uid}} if uid else {})}
        await self._write("DELETE", path, body=body, missing_is_none=True)

    async def _write(self, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        seconds = self._fence.write_seconds(WRITE_SECONDS_MAX)
        self._metrics.writes.labels("kubernetes", method.lower()).inc()
        logger.debug("write", target="kubernetes", verb=method, path=path, seconds_max=seconds)
        return await self._ask(method, path, seconds=seconds, **more)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        query: Mapping[str, str] | None = None,
        missing_is_none: bool = False,
    ) -> dict[str, Any] | None:
        headers = {"Content-Type": content_type, "Accept": accept}
        try:
            async with asyncio.timeout(seconds):
                request = await self._api.param_serialize(
                    method,
                    f"{path}?{urlencode(query)}" if query else path,
                    header_params=headers,
                    auth_settings=["BearerToken"],
                    body=body,
                )
                answer = await self._api.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=seconds))
                content = await answer.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnavailableError(
                f"The Kubernetes API doesn't answer: {type(error).__name__}", reason="KubernetesUnavailable"
            ) from error
        if answer.status == HTTPStatus.NOT_FOUND and missing_is_none:
            return None
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise _error_of(answer.status, content, method, path)
        decoded: dict[str, Any] = msgspec.json.decode(content)
        return decoded


class _Cause(msgspec.Struct, frozen=True):
    field: str = ""


class _Details(msgspec.Struct, frozen=True):
    causes: list[_Cause] = []


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""
    details: _Details = _Details()


def _error_of(code: int, content: bytes, method: str, path: str) -> Exception:
    try:
        told = msgspec.json.decode(content, type=_Status)
    except msgspec.MsgspecError:
        told = _Status()
    sentence = f"{method} {path}: {code} {told.message or told.reason}".rstrip()
    if code == HTTPStatus.CONFLICT:
        return AlreadyExistsError(sentence) if told.reason == "AlreadyExists" else ApiConflictError(sentence)
    if code == HTTPStatus.UNPROCESSABLE_ENTITY and any(cause.field == "metadata.uid" for cause in told.details.causes):
        # To the API server a patch with another uid is one that changes the uid.
        return ApiConflictError(sentence)
    if code in _TRY_AGAIN:
        return UnavailableError(f"The Kubernetes API can't do it now: {sentence}", reason="KubernetesUnavailable")
    return RefusedError(f"The Kubernetes API refuses it: {sentence}", reason="KubernetesRefused")

"""A schema registry by the API that Confluent's clients speak; Apicurio, Karapace and Redpanda speak it too."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
import structlog

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.errors import RefusedError, UnavailableError
from tradeflow_operator.log import without_secrets
from tradeflow_operator.metrics import OperatorMetrics
from tradeflow_operator.reconcile.event_schema import SchemaReference, SchemaText

logger = structlog.get_logger(__name__)

READ_SECONDS_MAX = 5.0
"""How long one answer may take; registries answer from memory."""

WRITE_SECONDS_MAX = 5.0
"""How long a write may take; less when the lease has less left."""

ANSWER_BYTES_MAX = 8 * 1024 * 1024
"""Of one answer: schemas are kept in Kafka's records, of a megabyte as a rule. Whoever may make a KafkaConnection says
who answers, and all that is served shares this process's memory."""

_NOT_FOUND_CODES = frozenset({40401, 40402, 40403, 40404, 40406, 40408})
"""The registry's own codes: no such subject, version, schema, or level of a subject; one that is hidden is none."""

_CONTENT_TYPE = {"Content-Type": "application/vnd.schemaregistry.v1+json"}


class RegisteredSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a subject."""

    subject: str = ""
    version: int = 0
    id: int
    schema: str = ""


class _Error(msgspec.Struct, frozen=True):
    error_code: int = 0
    message: str = ""


class _Verdict(msgspec.Struct, frozen=True):
    is_compatible: bool
    messages: list[str] = []


class _Scope(msgspec.Struct, frozen=True):
    clusters: dict[str, str] = {}


class _Metadata(msgspec.Struct, frozen=True):
    scope: _Scope = _Scope()


class IncompatibleError(RefusedError):
    """The schema breaks what the level promises."""

    def __init__(self, message: str) -> None:
        """Say what it breaks."""
        super().__init__(message, reason="Incompatible")


Told = TypeVar("Told")


class RegistryClient:
    """Asks and changes one registry. Subjects are soft-deleted only: there is no call for more.

    All calls raise:
        UnavailableError: `RegistryUnreachable`, which is also what an answer tells that isn't a registry's, or
            `RegistryBusy`; try again.
        RefusedError: `RegistryForbidden`, or `SchemaInvalid`: the registry can't read the schema.
    """

    def __init__(self, url: str, secret: Mapping[str, str], fence: Fence, metrics: OperatorMetrics) -> None:
        """Prepare; nothing is asked yet. The secret has the names that KafkaConnection's Secret has."""
        user = secret.get("registry-username")
        verify = ssl.create_default_context(cadata=secret["ca.crt"]) if "ca.crt" in secret else True
        self.url = without_secrets(url)
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            auth=httpx.BasicAuth(user, secret.get("registry-password", "")) if user else None,
            verify=verify,
            trust_env=False,
            # Uncompressed: what a megabyte unpacks to has no bound.
            headers={
                "Accept": "application/vnd.schemaregistry.v1+json, application/json",
                "Accept-Encoding": "identity",
            },
        )
        self._fence = fence
        self._metrics = metrics

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def check(self) -> None:
        """See whether it answers, and as a registry does."""
        answer = await self._ask("GET", "/config", seconds=READ_SECONDS_MAX)
        if answer is not None:
            self._read(answer, dict[str, Any])

    async def identity(self) -> str | None:
        """Ask which registry it is: the same under all of its addresses; None where it doesn't say.

        Source: Confluent's GET /v1/metadata/id, the group of registries that share one Kafka topic.
        """
        try:
            answer = await self._ask("GET", "/v1/metadata/id", seconds=READ_SECONDS_MAX)
            clusters = self._read(answer or b"{}", _Metadata).scope.clusters
        except (RefusedError, UnavailableError):
            return None
        registry = clusters.get("schema-registry-cluster")
        return f"{clusters.get('kafka-cluster', '')}/{registry}" if registry else None

    async def look_up(self, subject: str, text: SchemaText) -> RegisteredSchema | None:
        """Find the version of a subject that is this schema."""
        answer = await self._ask("POST", f"/subjects/{_quoted(subject)}", seconds=READ_SECONDS_MAX, body=_body(text))
        return self._read(answer, RegisteredSchema) if answer is not None else None

    async def versions(self, subject: str) -> tuple[int, ...]:
        """List the versions of a subject, oldest first; none when there is no such subject."""
        answer = await self._ask("GET", f"/subjects/{_quoted(subject)}/versions", seconds=READ_SECONDS_MAX)
        return tuple(sorted(self._read(answer, list[int]))) if answer is not None else ()

    async def level(self, subject: str) -> str | None:
        """Read the subject's own compatibility level; None when it follows the registry's, where the registry tells.

        Apicurio gives the registry's level for a subject that has none of its own.
        """
        answer = await self._ask("GET", f"/config/{_quoted(subject)}", seconds=READ_SECONDS_MAX)
        if answer is None:
            return None
        level = self._read(answer, dict[str, Any]).get("compatibilityLevel")
        return level if isinstance(level, str) else None

    async def incompatibilities(self, subject: str, text: SchemaText, versions: Sequence[int]) -> tuple[str, ...]:
        """Ask of each version whether the schema is compatible with it, by the subject's level as it is now."""
        complaints: list[str] = []
        for version in versions:
            path = f"/compatibility/subjects/{_quoted(subject)}/versions/{version}?verbose=true"
            answer = await self._ask("POST", path, seconds=READ_SECONDS_MAX, body=_body(text))
            if answer is None:
                continue
            verdict = self._read(answer, _Verdict)
            if not verdict.is_compatible:
                complaints.append(f"version {version}: {'; '.join(verdict.messages) or 'not compatible'}")
        return tuple(complaints)

    async def set_level(self, subject: str, level: str) -> None:
        """Set the subject's own level."""
        body = msgspec.json.encode({"compatibility": level})
        try:
            await self._write("set_level", "PUT", f"/config/{_quoted(subject)}", body)
        except IncompatibleError as error:
            # Apicurio's answer to the second of two who set the first level at once.
            raise UnavailableError("Somebody else sets the level at this moment.", reason="RegistryBusy") from error

    async def forget_level(self, subject: str) -> None:
        """Let the subject follow the registry's level again."""
        await self._write("forget_level", "DELETE", f"/config/{_quoted(subject)}", None)

    async def register(self, subject: str, text: SchemaText) -> int:
        """Make the schema the subject's newest version, unless it is one already; return its id.

        Raises:
            IncompatibleError: It breaks what the subject's level promises.
        """
        answer = await self._write("register", "POST", f"/subjects/{_quoted(subject)}/versions", _body(text))
        if answer is None:
            raise RefusedError(f"The registry knows no subject {subject}.", reason="SchemaInvalid")
        return self._read(answer, RegisteredSchema).id

    async def soft_delete(self, subject: str) -> None:
        """Hide a subject: its ids go on to be readable, and registering again brings it back."""
        await self._write("soft_delete", "DELETE", f"/subjects/{_quoted(subject)}", None)

    async def _write(self, verb: str, method: str, path: str, body: bytes | None) -> bytes | None:
        seconds = self._fence.write_seconds(WRITE_SECONDS_MAX)
        self._metrics.writes.labels("registry", verb).inc()
        logger.info("write", target="registry", verb=verb, path=path, seconds_max=round(seconds, 3))
        return await self._ask(method, path, seconds=seconds, body=body)

    async def _ask(self, method: str, path: str, *, seconds: float, body: bytes | None = None) -> bytes | None:
        """Return the answer's body, or None when what is asked for isn't there."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._http.stream(method, path, content=body, headers=_CONTENT_TYPE, timeout=seconds) as response,
            ):
                content = await self._content_of(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._unreachable(type(error).__name__) from error
        if response.is_success:
            return content
        told = _error_of(content)
        match response.status_code:
            case HTTPStatus.NOT_FOUND if told.error_code in _NOT_FOUND_CODES:
                return None
            case HTTPStatus.CONFLICT:
                raise IncompatibleError(f"The registry refuses the schema: {told.message}")
            case HTTPStatus.UNPROCESSABLE_ENTITY:
                raise RefusedError(f"The registry can't read the schema: {told.message}", reason="SchemaInvalid")
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                message = (
                    f"The schema registry {self.url} doesn't let this user in ({response.status_code}): look at "
                    "registry-username and registry-password in the connection's Secret, and at the user's rights."
                )
                raise RefusedError(message, reason="RegistryForbidden")
        raise self._unreachable(f"it answers {response.status_code} {told.message}".rstrip())

    async def _content_of(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for piece in response.aiter_raw():
            content += piece
            if len(content) > ANSWER_BYTES_MAX:
                raise self._unreachable(f"it answers more than {ANSWER_BYTES_MAX} bytes")
        return bytes(content)

    def _read(self, answer: bytes, type_: type[Told]) -> Told:
        try:
            return msgspec.json.decode(answer, type=type_)
        except msgspec.MsgspecError as error:
            raise self._unreachable(f"what answers there is no registry ({error})") from error

    def _unreachable(self, how: str) -> UnavailableError:
        return UnavailableError(f"The schema registry {self.url} can't be asked: {how}", reason="RegistryUnreachable")


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _body(text: SchemaText) -> bytes:
    references: list[SchemaReference] = list(text.references)
    # Avro is what the API means when no type is named, and some registries refuse its name.
    kind = {} if text.type == "AVRO" else {"schemaType": text.type}
    return msgspec.json.encode({**kind, "schema": text.schema, "references": references})


def _error_of(content: bytes) -> _Error:
    try:
        return msgspec.json.decode(content, type=_Error)
    except msgspec.MsgspecError:
        return _Error()

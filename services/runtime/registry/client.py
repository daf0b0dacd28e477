"""A schema registry by the API that Confluent's clients speak; Apicurio, Karapace and Redpanda speak it too."""

import asyncio
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from services.runtime.backoff import jittered_seconds
from services.runtime.errors import ConflictError, InvalidArgumentError, UnavailableError
from services.runtime.registry.registry_url import place_of

ANSWER_SECONDS_MAX = 5.0
"""How long the registry may take for one answer; it answers from memory."""

ATTEMPTS_MAX = 3
"""For one question: what waits longer than these is tried again by whoever asked."""

RETRY_FIRST_SECONDS = 0.1
"""The longest wait before the second attempt."""

RETRY_LONGEST_SECONDS = 1.0
"""What no wait exceeds."""

_SCHEMA_TYPE = "PROTOBUF"

_NOT_FOUND_CODES = frozenset({40401, 40402, 40403, 40408})
"""The registry's own codes: no such subject, version, schema, or compatibility level of a subject."""

_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})


class SchemaReference(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a schema imports: its import path, and the version of the subject that has it."""

    name: str
    subject: str
    version: int


class RegisteredSchema(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a subject."""

    subject: str = ""
    version: int = 0
    id: int
    schema: str = ""
    references: list[SchemaReference] = []


class _Error(msgspec.Struct, frozen=True):
    error_code: int = 0
    message: str = ""


Told = TypeVar("Told")


class RegistryClient:
    """Asks a registry. Each call is repeated on what may pass, and raises when it doesn't.

    All calls raise:
        UnavailableError: `registry_unreachable`, which is also what an answer tells that isn't a registry's, or
            `registry_forbidden`; try again.
    """

    def __init__(self, url: str) -> None:
        """Prepare; nothing is asked yet.

        Raises:
            InvalidArgumentError: The URL is malformed (`registry_url_malformed`).
        """
        place = place_of(url)
        self._http = httpx.AsyncClient(
            base_url=place.base_url,
            auth=place.credentials,
            verify=place.tls,
            timeout=ANSWER_SECONDS_MAX,
            trust_env=False,
            headers={"Accept": "application/vnd.schemaregistry.v1+json, application/json"},
        )
        self.base_url = place.base_url

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def look_up(
        self, subject: str, schema: str, references: Sequence[SchemaReference]
    ) -> RegisteredSchema | None:
        """Find the version of a subject that is this schema."""
        answer = await self._ask("POST", f"/subjects/{_quoted(subject)}", body=_body(schema, references))
        return self._read(answer, RegisteredSchema) if answer is not None else None

    async def versions(self, subject: str) -> list[int]:
        """List the versions of a subject, oldest first; none when there is no such subject."""
        answer = await self._ask("GET", f"/subjects/{_quoted(subject)}/versions")
        return sorted(self._read(answer, list[int])) if answer is not None else []

    async def version(self, subject: str, number: int, *, serialized: bool = False) -> RegisteredSchema | None:
        """Read one version as it was registered, or serialized, which not every registry can tell."""
        path = f"/subjects/{_quoted(subject)}/versions/{number}{'?format=serialized' if serialized else ''}"
        answer = await self._ask("GET", path)
        return self._read(answer, RegisteredSchema) if answer is not None else None

    async def compatibility_level(self, subject: str) -> str | None:
        """Read the subject's own level; None when it follows the registry's."""
        answer = await self._ask("GET", f"/config/{_quoted(subject)}")
        if answer is None:
            return None
        level = self._read(answer, dict[str, Any]).get("compatibilityLevel")
        return level if isinstance(level, str) else None

    async def set_compatibility_level(self, subject: str, level: str) -> None:
        """Set the subject's own level."""
        path, body = f"/config/{_quoted(subject)}", msgspec.json.encode({"compatibility": level})
        try:
            await self._ask("PUT", path, body=body)
        except ConflictError:
            # Apicurio's answer to the second of two who set the first level at once: now there is one to change.
            await self._ask("PUT", path, body=body)

    async def forget_compatibility_level(self, subject: str) -> None:
        """Let the subject follow the registry's level again."""
        await self._ask("DELETE", f"/config/{_quoted(subject)}")

    async def register(self, subject: str, schema: str, references: Sequence[SchemaReference]) -> int:
        """Make the schema the subject's newest version, unless it is one already; return its id.

        Raises:
            ConflictError: It breaks what the subject's level promises (`schema_incompatible`).
            InvalidArgumentError: The registry can't read it (`schema_invalid`).
        """
        answer = await self._ask("POST", f"/subjects/{_quoted(subject)}/versions", body=_body(schema, references))
        if answer is None:
            raise InvalidArgumentError(f"The registry finds no subject {subject}.", reason="schema_invalid")
        return self._read(answer, RegisteredSchema).id

    async def _ask(self, method: str, path: str, *, body: bytes | None = None) -> bytes | None:
        """Return the answer's body, or None when what is asked for isn't there."""
        for attempt in range(ATTEMPTS_MAX):
            last = attempt == ATTEMPTS_MAX - 1
            try:
                response = await self._http.request(method, path, content=body, headers=_CONTENT_TYPE)
            except httpx.HTTPError as error:
                if last:
                    raise self._unreachable(repr(error)) from error
            else:
                if response.status_code not in _TRY_AGAIN or last:
                    return self._content_of(response)
            await asyncio.sleep(
                jittered_seconds(attempt, first_seconds=RETRY_FIRST_SECONDS, longest_seconds=RETRY_LONGEST_SECONDS)
            )
        raise AssertionError("the last attempt returns or raises")

    def _read(self, answer: bytes, type_: type[Told]) -> Told:
        try:
            return msgspec.json.decode(answer, type=type_)
        except msgspec.MsgspecError as error:
            raise self._unreachable(f"what answers there is no registry ({error})") from error

    def _content_of(self, response: httpx.Response) -> bytes | None:
        if response.is_success:
            return response.content
        error = _error_of(response)
        match response.status_code:
            case 404 if error.error_code in _NOT_FOUND_CODES:
                return None
            case 409:
                raise ConflictError(f"The registry refuses it: {error.message}", reason="schema_incompatible")
            case 422:
                raise InvalidArgumentError(f"The registry can't read it: {error.message}", reason="schema_invalid")
            case 401 | 403:
                raise UnavailableError(
                    f"The schema registry {self.base_url} doesn't let this user in ({response.status_code}).",
                    reason="registry_forbidden",
                )
        raise self._unreachable(f"it answers {response.status_code} {error.message}".rstrip())

    def _unreachable(self, how: str) -> UnavailableError:
        return UnavailableError(
            f"The schema registry {self.base_url} can't be asked: {how}", reason="registry_unreachable"
        )


_CONTENT_TYPE = MappingProxyType({"Content-Type": "application/vnd.schemaregistry.v1+json"})


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _body(schema: str, references: Sequence[SchemaReference]) -> bytes:
    return msgspec.json.encode({"schemaType": _SCHEMA_TYPE, "schema": schema, "references": list(references)})


def _error_of(response: httpx.Response) -> _Error:
    try:
        return msgspec.json.decode(response.content, type=_Error)
    except msgspec.MsgspecError:
        return _Error()

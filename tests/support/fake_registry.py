"""A schema registry in this process: the API that Confluent's clients speak, as far as TradeFlow asks for it.

It keeps what it is given, as Apicurio does: the serialized form of a file and its text are two schemas.
"""

import base64
import binascii
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from services.runtime.registry.compatibility import broken_promises

Answer = tuple[int, Any]

PATH = "/apis/ccompat/v7"


class FakeRegistry:
    """What is registered, what was asked, and what goes wrong."""

    def __init__(self) -> None:
        """Begin empty, well and open to everybody."""
        self.subjects: dict[str, list[dict[str, Any]]] = {}
        self.levels: dict[str, str] = {}
        self.asked: list[str] = []
        self.failures: list[int] = []
        """Status codes of the next answers, in place of what is asked for."""
        self.credentials: str | None = None
        """user:password, once somebody has to sign in."""
        self.url = ""
        self._ids: dict[str, int] = {}
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def start(self) -> None:
        """Listen, where it did before."""
        registry = self

        class Handler(_Handler):
            fake = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}{PATH}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, method: str, path: str, body: Any) -> Answer:  # noqa: PLR0911 - one for each page
        """Answer a question."""
        self.asked.append(f"{method} {path}")
        words = [unquote(word) for word in path.strip("/").split("/")]
        match method, words:
            case "POST", ["subjects", subject]:
                return self._look_up(subject, body)
            case "POST", ["subjects", subject, "versions"]:
                return self._register(subject, body)
            case "GET", ["subjects", subject, "versions"]:
                versions = [each["version"] for each in self.subjects.get(subject, [])]
                return (200, versions) if versions else _missing(40401)
            case "GET", ["subjects", subject, "versions", number]:
                found = [each for each in self.subjects.get(subject, []) if str(each["version"]) == number]
                return (200, found[0]) if found else _missing(40402)
            case "GET", ["config", subject]:
                return (
                    (200, {"compatibilityLevel": self.levels[subject]}) if subject in self.levels else _missing(40408)
                )
            case "PUT", ["config", subject]:
                self.levels[subject] = body["compatibility"]
                return 200, body
            case "DELETE", ["config", subject]:
                self.levels.pop(subject, None)
                return 200, {}
        return 404, {"detail": "no such page"}

    def _look_up(self, subject: str, body: Any) -> Answer:
        if subject not in self.subjects:
            return _missing(40401)
        wanted = _content_of(body)
        found = [each for each in self.subjects[subject] if _content_of(each) == wanted]
        return (200, found[0]) if found else _missing(40403)

    def _register(self, subject: str, body: Any) -> Answer:
        status, found = self._look_up(subject, body)
        if status == 200:
            return 200, {"id": found["id"]}
        new, versions = _descriptor_of(body), self.subjects.setdefault(subject, [])
        if new is None and 'syntax = "proto3"' not in body["schema"]:
            return 422, {"error_code": 42201, "message": "Syntax violation"}
        for old in versions if self.levels.get(subject, "NONE") != "NONE" else ():
            before = _descriptor_of(old)
            # It can't read text: what it can't compare it refuses.
            broken = broken_promises(before, new) if before is not None and new is not None else ["not comparable"]
            if broken:
                return 409, {"error_code": 409, "message": f"Incompatible: {broken[0]}"}
        schema_id = self._ids.setdefault(_content_of(body), len(self._ids) + 1)
        versions.append({**body, "subject": subject, "version": len(versions) + 1, "id": schema_id})
        return 200, {"id": schema_id}


class _Handler(BaseHTTPRequestHandler):
    fake: FakeRegistry
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        status, content = self._answer(body)
        answer = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the library's names

    def _answer(self, body: Any) -> Answer:
        fake = self.fake
        if fake.failures:
            return fake.failures.pop(0), {"message": "not now"}
        wanted = "Basic " + base64.b64encode((fake.credentials or "").encode()).decode()
        if fake.credentials is not None and self.headers.get("Authorization") != wanted:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        return fake.answer(self.command, urlsplit(self.path).path.removeprefix(PATH), body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing on stderr."""


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """Run one during the body."""
    registry = FakeRegistry()
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


def _content_of(body: Any) -> str:
    return json.dumps([body["schema"], body.get("references") or []], sort_keys=True)


def _descriptor_of(body: Any) -> FileDescriptorProto | None:
    try:
        return FileDescriptorProto.FromString(base64.b64decode(body["schema"], validate=True))
    except (binascii.Error, DecodeError):
        return None


def _missing(code: int) -> Answer:
    return 404, {"error_code": code, "message": "not found"}

"""The console's files: the page at `/`, and what it is made of.

Litestar's static files send an ETag and never answer to it with 304, and make it of the file's time, which two replicas
may see differently. Here all files are read once, and named by what is in them: the page names its files below a path
that changes with any of them, so that a browser asks again for the page alone.
"""

import gzip
import hashlib
import html
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.gateway.inbound.rate_limits import UNCOUNTED_OPTION
from services.runtime.http_auth import PUBLIC

FOLDER: Final = Path(__file__).parents[1] / "console"
"""Where the files are; they are part of the package."""

FILES_PATH: Final = "/console/files"
"""Below it come the version and the file's path."""

PAGE: Final = "index.html"
"""What `/` shows."""

REVALIDATED: Final = "no-cache"
"""The page: kept, and asked about each time."""

IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""What is named by its content: kept for a year."""

GZIP_BYTES_MIN: Final = 1024
"""Smaller files fit into the first packets as they are."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing but own files, nothing inline, no markup made of text: what a seller writes into a title stays text.

Source: https://www.w3.org/TR/CSP3/, https://w3c.github.io/trusted-types/.
"""

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On each of the console's answers."""

METHODS: Final = [HttpMethod.GET, HttpMethod.HEAD]

OPTIONS: Final = {UNCOUNTED_OPTION: True, **PUBLIC}
"""For everybody, and so cheap that nobody counts."""


class SignInButton(msgspec.Struct, frozen=True):
    """Another issuer that people may sign in with."""

    name: str
    title: str


class ConsoleSettings(msgspec.Struct, frozen=True):
    """What the page is told of the platform."""

    top_up_minor_max: int
    """The largest demo top-up; 0 where there are none."""
    trace_url: str
    """Where a trace can be looked at, with `{trace_id}` in it; empty where nowhere."""
    exponents: Mapping[str, int] = {}
    """How many decimal places each asset has: browsers write some of ISO 4217's with fewer."""
    issuers: tuple[SignInButton, ...] = ()
    """What else there is to sign in with than a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleFile:
    """A file, ready to be sent."""

    content: bytes
    zipped: bytes | None
    """None where zipping isn't worth it."""
    media_type: str
    etag: str

    @classmethod
    def of(cls, name: str, content: bytes) -> "ConsoleFile":
        """Prepare a file for its answers."""
        zipped = gzip.compress(content, mtime=0) if len(content) >= GZIP_BYTES_MIN else None
        return cls(content=content, zipped=zipped, media_type=_media_type(name), etag=_digest(content))


class Console:
    """The page and its files, as they were when the gateway started."""

    def __init__(self, settings: ConsoleSettings) -> None:
        """Read everything."""
        contents = {
            str(file.relative_to(FOLDER)): file.read_bytes() for file in sorted(FOLDER.rglob("*")) if file.is_file()
        }
        page = contents.pop(PAGE).decode()
        named = "".join(f"{name}\n{_digest(content)}\n" for name, content in contents.items())
        self.version = _digest(named.encode())
        self.files = {name: ConsoleFile.of(name, content) for name, content in contents.items()}
        self.page = ConsoleFile.of(PAGE, self._complete(page, settings).encode())

    def _complete(self, page: str, settings: ConsoleSettings) -> str:
        """Fill in where the files are; scripts are named at once, so that none waits until another has named it."""
        base = f"{FILES_PATH}/{self.version}"
        preloads = "\n".join(
            f'<link rel="modulepreload" href="{base}/{name}">' for name in self.files if name.endswith(".js")
        )
        told = html.escape(msgspec.json.encode(settings).decode(), quote=True)
        return page.replace("{{preloads}}", preloads).replace("{{files}}", base).replace("{{settings}}", told)


def console_file_routes(console: Console) -> list[HTTPRouteHandler]:
    """Make the routes."""

    @route("/", http_method=METHODS, opt=OPTIONS, include_in_schema=False, status_code=200)
    async def show_page(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Show the console."""
        return _answer(request, console.page, REVALIDATED)

    @route(
        f"{FILES_PATH}/{{version:str}}/{{file:path}}",
        http_method=METHODS,
        opt=OPTIONS,
        include_in_schema=False,
        status_code=200,
    )
    async def show_file(
        request: Request[Any, Any, Any], version: FromPath[str], file: FromPath[Path]
    ) -> Response[bytes]:
        """Send one of its files. While replicas are replaced, one may be asked for another's version."""
        found = console.files.get(str(file).lstrip("/"))
        if found is None:
            raise NotFoundException
        return _answer(request, found, IMMUTABLE if version == console.version else REVALIDATED)

    return [show_page, show_file]


def _answer(request: Request[Any, Any, Any], file: ConsoleFile, cache_control: str) -> Response[bytes]:
    zips = file.zipped is not None and _accepts_gzip(request.headers.get("accept-encoding", ""))
    etag = f'"{file.etag}{"-gzip" if zips else ""}"'
    headers = {**SECURITY_HEADERS, "Cache-Control": cache_control, "ETag": etag, "Vary": "Accept-Encoding"}
    if _knows(request.headers.get("if-none-match", ""), etag):
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    if zips:
        headers["Content-Encoding"] = "gzip"
    return Response(file.zipped if zips and file.zipped else file.content, headers=headers, media_type=file.media_type)


def _accepts_gzip(accepted: str) -> bool:
    """Tell whether gzip is named, and not by `q=0`. Source: RFC 9110, section 12.5.3."""
    for coding in accepted.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").rstrip("0").rstrip(".") != "q="
    return False


def _knows(if_none_match: str, etag: str) -> bool:
    """Compare weakly. Source: RFC 9110, section 13.1.2."""
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag in known or "*" in known


def _media_type(name: str) -> str:
    if name.endswith(".js"):
        return "text/javascript"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]

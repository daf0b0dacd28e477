"""Where a schema registry is and how it is entered, from one URL.

`https://user:password@registry:8081/apis/ccompat/v7?ca_file=/etc/registry/ca.pem`: the root of the API that
Confluent's clients speak. `password_file` keeps the password out of the environment.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from services.runtime.errors import InvalidArgumentError
from services.runtime.url_parts import url_parts

_OPTIONS = frozenset({"ca_file", "password_file"})

_MALFORMED = "registry_url_malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryPlace:
    """How a registry is reached."""

    base_url: str
    """Without user, password and options."""
    credentials: tuple[str, str] | None = field(repr=False)
    tls: ssl.SSLContext | bool
    """Whose certificates are trusted; True for those that the machine trusts."""


def place_of(url: str) -> RegistryPlace:
    """Read a URL.

    Raises:
        InvalidArgumentError: `registry_url_malformed`; the message never shows the password.
    """
    parts = url_parts(url, "registry")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment:
        raise InvalidArgumentError("a registry's URL is https://host:8081/path?options", reason=_MALFORMED)
    if unknown:
        raise InvalidArgumentError(
            f"unknown option {unknown[0]!r} of a registry's URL; there are: {', '.join(sorted(_OPTIONS))}",
            reason=_MALFORMED,
        )
    credentials, _, host = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    if "password_file" in options:
        password = _content_of(options["password_file"])
    return RegistryPlace(
        base_url=parts._replace(netloc=host, query="").geturl().rstrip("/"),
        credentials=(unquote(user), unquote(password)) if user else None,
        tls=_trusted(options["ca_file"]) if "ca_file" in options else True,
    )


def _content_of(file: str) -> str:
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise InvalidArgumentError(
            f"the password file of the registry's URL can't be read: {error.strerror}", reason=_MALFORMED
        ) from error


def _trusted(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise InvalidArgumentError(
            f"the ca_file of the registry's URL can't be read: {error}", reason=_MALFORMED
        ) from error

"""How a Kafka of the tests is entered: who signs in, what is encrypted, and the settings that say so.

Flags: `--sasl` asks clients for a user by SCRAM-SHA-512 and enforces ACLs, `admin` being the only super-user; `--tls`
encrypts; `--mutual-tls` asks clients for a certificate too. They add up: `("--sasl", "--tls")` is SASL_SSL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.parts.certificates import Authority
from tests.parts.part import Place

SASL, TLS, MUTUAL_TLS = "--sasl", "--tls", "--mutual-tls"

ADMIN, ADMIN_PASSWORD = "admin", "admin-secret"
"""The super-user of a server with `--sasl`."""

SERVER, CLIENT = "kafka", "client"
"""The names of the certificates of the server, and of the client that the server's URL names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What a server's flags ask for."""

    sasl: bool
    tls: bool
    mutual: bool
    settings: tuple[str, ...]

    @classmethod
    def of(cls, flags: Sequence[str]) -> "Security":
        """Read flags; those that aren't ours are settings of the server, `name=value`."""
        return cls(
            sasl=SASL in flags,
            tls=TLS in flags or MUTUAL_TLS in flags,
            mutual=MUTUAL_TLS in flags,
            settings=tuple(flag for flag in flags if flag not in {SASL, TLS, MUTUAL_TLS}),
        )

    @property
    def protocol(self) -> str:
        """Name the clients' listener as Kafka does."""
        return f"{'SASL_' if self.sasl else ''}{'SSL' if self.tls else 'PLAINTEXT'}"


def authority_of(place: Place) -> Authority:
    """Return who signed a server's certificate; it signs clients too."""
    return Authority(place.folder / "tls")


def url_of(place: Place) -> str:
    """Name a server with all that its super-user needs."""
    security = Security.of(place.flags)
    user = f"{ADMIN}:{ADMIN_PASSWORD}@" if security.sasl else ""
    options: dict[str, str | Path] = {}
    if security.tls:
        options = {"tls": "true", "ca_file": authority_of(place).ca_file}
    if security.mutual:
        client = authority_of(place).issue(CLIENT)
        options |= {"certificate_file": client.certificate_file, "key_file": client.key_file}
    query = f"?{urlencode(options, safe='/')}" if options else ""
    return f"kafka://{user}{place.host}:{place.port}{query}"


def security_settings(place: Place) -> dict[str, str]:
    """Return the server's settings about security."""
    security = Security.of(place.flags)
    controllers = "SASL_PLAINTEXT" if security.sasl else "PLAINTEXT"
    settings = {"listener.security.protocol.map": f"CLIENTS:{security.protocol},CONTROLLER:{controllers}"}
    if security.sasl:
        settings |= _sasl_settings()
    if security.tls:
        settings |= _tls_settings(place, "required" if security.mutual else "none")
    return settings


def _sasl_settings() -> dict[str, str]:
    """Let clients and the broker itself sign in by SCRAM, and the controller, which keeps those users, by PLAIN."""
    user = f'required username="{ADMIN}" password="{ADMIN_PASSWORD}"'
    modules = "org.apache.kafka.common.security"
    return {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule {user};",
        "listener.name.controller.plain.sasl.jaas.config": (
            f'{modules}.plain.PlainLoginModule {user} user_{ADMIN}="{ADMIN_PASSWORD}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN}",
        "allow.everyone.if.no.acl.found": "false",
    }


def _tls_settings(place: Place, client_auth: str) -> dict[str, str]:
    """Show a certificate, which the broker shows to itself as a client too."""
    authority = authority_of(place)
    server = authority.issue(SERVER)
    return {
        "ssl.client.auth": client_auth,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": _in_one_line(server.certificate_file),
        "ssl.keystore.key": _in_one_line(server.key_file),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": _in_one_line(authority.ca_file),
    }


def _in_one_line(file: Path) -> str:
    """Write a file as Java's properties have it."""
    return file.read_text().replace("\n", "\\n")

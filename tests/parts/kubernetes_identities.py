"""Who speaks to an API server of the tests: certificates, the key of service accounts, and a kubeconfig for each."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.parts.certificates import Authority
from tests.parts.part import Place

ADMIN, CONTROLLER_MANAGER = "admin", "system:kube-controller-manager"
"""A super-user, and the name that the API server knows its controllers by."""

MASTERS = "system:masters"
"""The group that may do everything."""

SERVICE_HOSTS = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
"""The names of an API server inside of its cluster."""


class Identities:
    """The folder of one API server's certificates."""

    def __init__(self, place: Place) -> None:
        """Make nothing yet."""
        self._place = place
        self.authority = Authority(place.folder / "tls")
        self.service_account_key = place.folder / "tls" / "service-accounts.key"
        self.service_account_public = place.folder / "tls" / "service-accounts.pub"

    def ensure_service_account_key(self) -> None:
        """Make the key that signs service accounts' tokens, unless it is there."""
        if self.service_account_key.exists():
            return
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.service_account_public.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        self.service_account_key.touch(mode=0o600)
        self.service_account_key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )

    def kubeconfig(self, user: str = ADMIN, *, group: str | None = MASTERS) -> Path:
        """Return the file that makes clients this user; `KUBECONFIG` may name it. JSON is YAML."""
        file = self._place.folder / f"{user.removeprefix('system:')}.kubeconfig"
        if not file.exists():
            signed = self.authority.issue(user, organization=group)
            file.touch(mode=0o600)
            file.write_text(
                json.dumps(
                    {
                        "apiVersion": "v1",
                        "kind": "Config",
                        "clusters": [_named("tests", "cluster", self._cluster())],
                        "users": [
                            _named(
                                user,
                                "user",
                                {
                                    "client-certificate-data": _encoded(signed.certificate_file),
                                    "client-key-data": _encoded(signed.key_file),
                                },
                            )
                        ],
                        "contexts": [_named("tests", "context", {"cluster": "tests", "user": user})],
                        "current-context": "tests",
                    }
                )
            )
        return file

    def _cluster(self) -> dict[str, str]:
        return {
            "server": f"https://{self._place.host}:{self._place.port}",
            "certificate-authority-data": _encoded(self.authority.ca_file),
        }


def _named(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, kind: value}


def _encoded(file: Path) -> str:
    return b64encode(file.read_bytes()).decode()

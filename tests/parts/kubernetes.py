"""Kubernetes' API without nodes: etcd, kube-apiserver and kube-controller-manager, built from source once per machine.

Objects exist, are validated, watched, owned, collected and drained with their namespace; Jobs make Pods, which stay
Pending: no scheduler and no kubelet run here.
"""

import json
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.parts.go_programs import ensure_program
from tests.parts.http_servers import ASK_SECONDS_MAX
from tests.parts.kubernetes_identities import CONTROLLER_MANAGER, SERVICE_HOSTS, Identities
from tests.parts.part import Place

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
"""What a server and its tests run."""

SERVICE_ADDRESSES, POD_ADDRESSES = "10.96.0.0/16", "10.244.0.0/16"
"""What Services and Pods are given; nothing listens there without nodes."""

READS = ["get", "list", "watch"]

AUDIT_POLICY: Mapping[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "omitManagedFields": True,
    "rules": [
        {"level": "None", "verbs": READS},
        {"level": "Metadata", "resources": [{"group": "", "resources": ["secrets", "serviceaccounts/token"]}]},
        {"level": "Request"},
    ],
}
"""All writes with what they said, but for secrets."""


class KubernetesPart:
    """The API server; `ControlPlane` starts the other two around it."""

    name = "kubernetes"
    image = None
    image_port = 6443

    def image_environment(self, place: Place) -> Mapping[str, str]:  # noqa: ARG002 - the port's signature
        """There is no image."""
        return {}

    def image_command(self, place: Place) -> Sequence[str]:  # noqa: ARG002 - the port's signature
        """There is no image."""
        return ()

    def install(self, folder: Path, log_file: Path) -> None:  # noqa: ARG002 - the port's signature
        """Build the programs, which lie beside the parts' folders, since several parts run them."""
        for name in PROGRAMS:
            ensure_program(name)

    def prepare(self, installed: Path, place: Place) -> None:  # noqa: ARG002 - the port's signature
        """Make what all three processes read: certificates, and what is written to the audit."""
        place.data.mkdir()
        Identities(place).ensure_service_account_key()
        _policy_file(place).write_text(json.dumps(AUDIT_POLICY))

    def command(self, installed: Path, place: Place) -> list[str]:  # noqa: ARG002 - the port's signature
        """Return the words that start the API server; a flag that is given twice has its last value."""
        identities = Identities(place)
        server = identities.authority.issue("kube-apiserver", hosts=(place.host, "localhost", *SERVICE_HOSTS))
        return [
            str(ensure_program("kube-apiserver")),
            *("--etcd-servers", f"http://{place.host}:{etcd_place(place).port}"),
            *("--bind-address", place.host),
            *("--advertise-address", place.host),
            *("--endpoint-reconciler-type", "none"),
            *("--secure-port", str(place.port)),
            *("--service-cluster-ip-range", SERVICE_ADDRESSES),
            *("--tls-cert-file", str(server.certificate_file)),
            *("--tls-private-key-file", str(server.key_file)),
            *("--client-ca-file", str(identities.authority.ca_file)),
            *("--authorization-mode", "Node,RBAC"),
            *("--service-account-issuer", f"https://{SERVICE_HOSTS[-1]}"),
            *("--service-account-key-file", str(identities.service_account_public)),
            *("--service-account-signing-key-file", str(identities.service_account_key)),
            *("--audit-policy-file", str(_policy_file(place))),
            *("--audit-log-path", str(audit_file(place))),
            # A test reads what was written as soon as it has been answered.
            *("--audit-log-mode", "blocking"),
            *("--shutdown-delay-duration", "0s"),
            *place.flags,
        ]

    def url(self, place: Place) -> str:
        """Name the API server; the `kubeconfig` of `ControlPlane` holds all that clients need."""
        return f"https://{place.host}:{place.port}"

    def ask(self, url: str) -> str:
        """Return the version."""
        # The authority is the server's own; what anybody may read tells no secret.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with httpx.Client(trust_env=False, timeout=ASK_SECONDS_MAX, verify=context) as client:
                client.get(f"{url}/readyz").raise_for_status()
                return str(client.get(f"{url}/version").raise_for_status().json()["gitVersion"])
        except httpx.HTTPError as error:
            raise OSError(f"{url} doesn't answer: {error}") from error


def etcd_command(place: Place) -> list[str]:
    """Return the words that start the database of an API server; a killed process loses nothing, a machine would."""
    clients, peers = (f"http://{place.host}:{port}" for port in (etcd_place(place).port, _peer_place(place).port))
    return [
        str(ensure_program("etcd")),
        *("--name", "tests"),
        *("--data-dir", str(place.data / "etcd")),
        "--unsafe-no-fsync",
        *("--log-level", "warn"),
        *("--listen-client-urls", clients),
        *("--advertise-client-urls", clients),
        *("--listen-peer-urls", peers),
        *("--initial-advertise-peer-urls", peers),
        *("--initial-cluster", f"tests={peers}"),
    ]


def controllers_command(place: Place) -> list[str]:
    """Return the words that start the controllers: owners, namespaces, Jobs, Deployments, service accounts."""
    identities = Identities(place)
    return [
        str(ensure_program("kube-controller-manager")),
        *("--kubeconfig", str(identities.kubeconfig(CONTROLLER_MANAGER, group=None))),
        *("--service-account-private-key-file", str(identities.service_account_key)),
        *("--root-ca-file", str(identities.authority.ca_file)),
        "--use-service-account-credentials",
        "--leader-elect=false",
        # With the usual limits the first start takes four seconds more, and a namespace's end too.
        *("--kube-api-qps", "300"),
        *("--kube-api-burst", "600"),
        *("--cluster-cidr", POD_ADDRESSES),
        *("--service-cluster-ip-range", SERVICE_ADDRESSES),
        *("--secure-port", "0"),
    ]


def etcd_place(place: Place) -> Place:
    """Return where the API server's database listens."""
    return Place.of(place.folder / "etcd")


def audit_file(place: Place) -> Path:
    """Return where each write is noted, a line of JSON each."""
    return place.folder / "audit.log"


def _peer_place(place: Place) -> Place:
    return Place.of(place.folder / "etcd-peer")


def _policy_file(place: Place) -> Path:
    return place.folder / "audit-policy.json"

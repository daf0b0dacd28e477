"""TradeFlow as a platform team installs it: a restricted namespace, Secrets of its own, and the charts by Helm."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from services.embedded.data_folder import OPERATOR_EMAIL, TREASURY_EMAIL, DataFolder
from services.gateway.keys import ensure_keys
from tests.cluster.pod_parts import PodParts
from tests.parts.cluster import OneNodeCluster
from tests.support.helm import CHARTS, helm

IMAGE_TAG = "test"

RELEASE = "tradeflow"

SERVICES = ("ledger", "orders", "gateway")

INSTALL_SECONDS_MAX = 420
"""For images that are there and databases that are empty, on a busy machine."""

POLL_SECONDS = 0.2

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
"""What the namespace refuses is what no pod of ours may need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One release on a cluster, and the folder with its people's passwords."""

    cluster: OneNodeCluster
    parts: PodParts
    data: Path
    namespace: str = "shop"
    labels: Mapping[str, str] = field(default_factory=lambda: dict(RESTRICTED))

    def prepare(self) -> None:
        """Make the namespace, and the Secrets that a team brings along: addresses, and who may do what."""
        self.make_namespace(self.namespace)
        secrets = DataFolder(self.data).secrets()
        users = [
            {"email": TREASURY_EMAIL, "password": secrets.treasury_password, "roles": ["treasury"]},
            {"email": OPERATOR_EMAIL, "password": secrets.operator_password, "roles": ["operator"]},
        ]
        self.secret("ledger-database", url=self.parts.ledger_url)
        self.secret("orders-database", url=self.parts.orders_url)
        self.secret("users", **{"bootstrap-users": json.dumps(users)})

    def prepare_keys(self) -> None:
        """Make the Secrets that a team without the operator brings along too."""
        secret = DataFolder(self.data).secrets().orders_client_secret
        digest = sha256(secret.encode()).hexdigest()
        self.secret("clients", **{"client-secret": secret, "clients": json.dumps({"orders": digest})})
        with TemporaryDirectory() as folder:
            ensure_keys(Path(folder))
            keys = {file.name: file.read_text() for file in Path(folder).glob("*.json")}
        self.secret("signing-keys", **keys)

    def make_namespace(self, name: str) -> None:
        """Make a namespace that takes restricted pods only."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": self.labels}})

    def install(self, values: Mapping[str, Any]) -> None:
        """Install the umbrella, or upgrade it, and wait until everything is ready.

        Raises:
            HelmError: It isn't, in time.
        """
        helm(
            *("upgrade", "--install", RELEASE, str(CHARTS / "tradeflow")),
            *("--namespace", self.namespace, "--values", "-", "--wait", "--timeout", f"{INSTALL_SECONDS_MAX}s"),
            stdin=json.dumps(values),
            kubeconfig=self.cluster.kubeconfig,
            seconds_max=INSTALL_SECONDS_MAX + 30,
        )

    def uninstall(self) -> None:
        """Take the release away."""
        self.helm("uninstall", RELEASE, "--wait", "--timeout", "180s")

    def helm(self, *words: str) -> str:
        """Run helm in the namespace."""
        return helm(*words, "--namespace", self.namespace, kubeconfig=self.cluster.kubeconfig, seconds_max=300)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *words, stdin=stdin)

    def secret(self, name: str, **values: str) -> None:
        """Make a Secret."""
        metadata = {"name": name, "namespace": self.namespace}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})

    def gateway_url(self) -> str:
        """Say where the gateway's Service is, as the node reaches it."""
        service = json.loads(self.kubectl("get", "service", f"{RELEASE}-gateway", "--output", "json"))
        return f"http://{service['spec']['clusterIP']}:8080"

    def pods(self, service: str) -> list[str]:
        """Name the pods of a service that aren't ending, oldest first."""
        return [f"pod/{pod['metadata']['name']}" for pod in self.pod_bodies(service)]

    def pod_bodies(self, service: str) -> list[dict[str, Any]]:
        """Read the pods of a service that aren't ending, oldest first."""
        selector = f"app.kubernetes.io/name={service},app.kubernetes.io/instance={RELEASE}"
        found = json.loads(self.kubectl("get", "pods", "--selector", selector, "--output", "json"))["items"]
        living = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def wait_for_rollout(self, service: str) -> None:
        """Wait until a service's pods are all new and ready."""
        deployment = f"deployment/{RELEASE}-{service}"
        deadline = time.monotonic() + INSTALL_SECONDS_MAX
        while True:
            try:
                self.kubectl("rollout", "status", deployment, "--timeout", "60s")
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return

    def evict(self, pod: str) -> None:
        """Ask a pod to leave as a drain of its node does; budgets may hold that back."""
        name = pod.removeprefix("pod/")
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.namespace},
        }
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/eviction"
        deadline = time.monotonic() + INSTALL_SECONDS_MAX
        while True:
            try:
                self.cluster.kubectl("create", "--raw", path, "--filename", "-", stdin=json.dumps(eviction))
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Create objects, or change them to this."""
        items: Sequence[Mapping[str, Any]] = manifests
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.cluster.kubectl("apply", "--filename", "-", stdin=text)


def values_of(parts: PodParts) -> dict[str, Any]:
    """Return the values of an installation without the operator's resources, two of each service."""
    small = {"replicaCount": 2, "resources": {"requests": {"cpu": "20m"}}}
    resources = ("kafkaConnection", "topics", "schemas", "keySet", "migrations", "observe", "clients")
    # The parts of this machine listen where they found a free port.
    anywhere: dict[str, Any] = {"networkPolicy": {"parts": {"broker": {"ports": []}, "database": {"ports": []}}}}
    return {
        "global": {
            "tradeflow": {
                "issuer": "https://shop.example",
                "image": {"repository": "tradeflow", "tag": IMAGE_TAG, "pullPolicy": "Never"},
                "broker": {"url": parts.broker_url},
            }
        },
        "ledger": {
            **small,
            **anywhere,
            "database": {"existingSecret": "ledger-database"},
            "migrations": {"onStart": True},
        },
        "orders": {
            **small,
            **anywhere,
            "database": {"existingSecret": "orders-database"},
            "migrations": {"onStart": True},
            "client": {"existingSecret": "clients"},
            "bootstrapUsers": {"existingSecret": "users"},
        },
        "gateway": {
            **small,
            "redis": {"url": parts.redis_url},
            "keys": {"existingSecret": "signing-keys"},
            "clients": {"existingSecret": "clients"},
        },
        **{name: {"create": False} for name in resources},
    }

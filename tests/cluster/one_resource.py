"""TradeFlow as one resource gives it: the operator's chart, Secrets of addresses, and one TradeFlow."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.installation import INSTALL_SECONDS_MAX, POLL_SECONDS, RELEASE, SERVICES, Installation
from tests.support.helm import CHARTS, helm

OPERATOR, OPERATOR_NAMESPACE = "tradeflow-operator", "tradeflow-system"

KIND = "tf"
"""The whole name is that of the category too, which stands for all of our kinds."""

ROLL_OUT_SECONDS_MAX = 600
"""For three services one after the other, with their migrations, on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledPod:
    """The newest pod of a service."""

    image: str
    labels: Mapping[str, str]
    made_at: datetime
    ready_at: datetime


class OneResource:
    """One TradeFlow resource in a namespace, and the operator that serves it."""

    def __init__(self, installation: Installation) -> None:
        """Take a namespace that has the Secrets of addresses."""
        self.installation = installation

    def install_operator(self, image_tag: str) -> None:
        """Install the operator's chart and nothing else, where only restricted pods are taken."""
        self.installation.make_namespace(OPERATOR_NAMESPACE)
        image = {"repository": "tradeflow", "tag": image_tag, "pullPolicy": "Never"}
        self._helm(
            *("install", OPERATOR, str(CHARTS / "tradeflow-operator"), "--values", "-", "--wait"),
            *("--timeout", f"{INSTALL_SECONDS_MAX}s"),
            stdin=json.dumps({"replicaCount": 1, "image": image}),
        )

    def uninstall_operator(self) -> None:
        """Take the operator away; its kinds stay."""
        self._helm("uninstall", OPERATOR, "--wait", "--timeout", "180s")

    def apply(
        self, version: str, *, labels: Mapping[str, str] | None = None, ledger_database: str = "ledger-database"
    ) -> None:
        """Apply the resource.

        Args:
            version: The image's tag.
            labels: What all pods have, as an example of a changed value.
            ledger_database: Where the ledger and its migrations find their database.
        """
        values = values_of(self.installation)
        values["ledger"]["database"] = {"existingSecret": ledger_database}
        values["migrations"]["ledgerSecret"] = ledger_database
        for service in SERVICES:
            values[service]["podLabels"] = dict(labels or {})
        self.installation.apply(
            {
                "apiVersion": "tradeflow.dev/v1alpha1",
                "kind": "TradeFlow",
                "metadata": {"name": RELEASE, "namespace": self.installation.namespace},
                "spec": {"version": version, "values": values},
            }
        )

    def delete(self) -> None:
        """Delete the resource, and wait until it and all that it had made are gone."""
        self.installation.kubectl("delete", KIND, RELEASE, "--ignore-not-found", "--wait=false")
        self._wait(lambda: not self._exists(), "the resource doesn't go")
        self._wait(lambda: not self.left(), "not all is gone")

    def left(self) -> list[str]:
        """Name what runs of the platform."""
        selector = f"app.kubernetes.io/instance={RELEASE}"
        return self.installation.kubectl(
            "get", "deploy,svc,pod,tfdm", "--selector", selector, "--output", "name"
        ).split()

    def wait_for(self, status: str, reason: str, *, version: str | None = None) -> str:
        """Wait until Ready says so of what was applied last; return its message."""

        def is_so() -> bool:
            ready, told = self.conditions().get("Ready", {}), self._body()
            current = ready.get("observedGeneration") == told["metadata"]["generation"]
            right = version in {None, told.get("status", {}).get("version")}
            return current and right and (ready.get("status"), ready.get("reason")) == (status, reason)

        self._wait(is_so, f"Ready is not {status}/{reason}")
        return str(self.conditions()["Ready"]["message"])

    def wait_until_it_runs(self, version: str) -> None:
        """Wait until all of a version is ready."""
        self.wait_for("True", "Deployed", version=version)

    def version(self) -> str:
        """Read which version runs; empty while services differ."""
        return str(self._body().get("status", {}).get("version", ""))

    def conditions(self) -> dict[str, dict[str, Any]]:
        """Read the conditions, by type."""
        return {condition["type"]: condition for condition in self._body().get("status", {}).get("conditions", ())}

    def newest_pod(self, service: str) -> RolledPod:
        """Read the newest pod of a service."""
        pod = self.installation.pod_bodies(service)[-1]
        conditions = {condition["type"]: condition for condition in pod["status"]["conditions"]}
        return RolledPod(
            image=pod["spec"]["containers"][0]["image"],
            labels=pod["metadata"]["labels"],
            made_at=datetime.fromisoformat(pod["metadata"]["creationTimestamp"]),
            ready_at=datetime.fromisoformat(conditions["Ready"]["lastTransitionTime"]),
        )

    def serving(self, service: str) -> set[str]:
        """Name the images of the pods that are ready."""
        return {
            pod["spec"]["containers"][0]["image"]
            for pod in self.installation.pod_bodies(service)
            for condition in pod["status"].get("conditions", ())
            if (condition["type"], condition["status"]) == ("Ready", "True")
        }

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.installation.kubectl("get", KIND, RELEASE, "--output", "json"))
        return body

    def _exists(self) -> bool:
        return bool(self.installation.kubectl("get", KIND, "--output", "name").split())

    def _wait(self, is_so: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + ROLL_OUT_SECONDS_MAX
        while not is_so():
            assert time.monotonic() < deadline, f"{otherwise}:\n{self._told()}"
            time.sleep(POLL_SECONDS)

    def _told(self) -> str:
        """Say how it is, for who reads why a test failed."""
        listed = self.installation.kubectl("get", "tf,tfdm,tfet,tfkc,tfjk,deploy,pod", "--output", "wide")
        words = ("--namespace", OPERATOR_NAMESPACE, "logs", f"deploy/{OPERATOR}", "--tail", "40")
        conditions = json.dumps(self.conditions() if self._exists() else {}, indent=1)
        return f"{conditions}\n{listed}\n{self.installation.cluster.kubectl(*words)}"

    def _helm(self, *words: str, stdin: str = "") -> None:
        kubeconfig = self.installation.cluster.kubeconfig
        seconds_max = INSTALL_SECONDS_MAX + 30
        helm(*words, "--namespace", OPERATOR_NAMESPACE, stdin=stdin, kubeconfig=kubeconfig, seconds_max=seconds_max)


def values_of(installation: Installation) -> dict[str, Any]:
    """Return values as a team writes them: where the parts are, and no more; keys and secrets are the operator's."""
    small = {"replicaCount": 1, "resources": {"requests": {"cpu": "20m"}}}
    return {
        "global": {
            "tradeflow": {
                "issuer": "https://shop.example",
                "image": {"repository": "tradeflow", "pullPolicy": "Never"},
                "broker": {"existingSecret": "kafka"},
                "partitions": 4,
            }
        },
        "ledger": small,
        "orders": {
            **small,
            "database": {"existingSecret": "orders-database"},
            "bootstrapUsers": {"existingSecret": "users"},
        },
        "gateway": {**small, "redis": {"existingSecret": "redis"}},
        "kafkaConnection": {"bootstrapServers": [urlsplit(installation.parts.broker_url).netloc]},
        "migrations": {"ordersSecret": "orders-migrator"},
    }

"""The helm program, and the records that it keeps as Secrets."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.errors import RefusedError, UnavailableError

UPGRADE_SECONDS_MAX = 60.0
"""helm renders and writes; it doesn't wait for Pods. Less when the lease has less left."""

HISTORY_MAX = 20
"""Revisions that helm keeps: four a roll-out."""

SAID_CHARACTERS_MAX = 600
"""Of what helm says when it fails."""


class HelmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a release, without its content, which may hold secrets."""

    secret: str
    revision: int
    status: str
    labels: Mapping[str, str]
    created_at: str


class Helm:
    """Installs, and reads what was installed."""

    def __init__(
        self, kubernetes: KubernetesClient, fence: Fence, *, program: str, chart: Path, kubeconfig: Path | None
    ) -> None:
        """Take where things are."""
        self._kubernetes = kubernetes
        self._fence = fence
        self._program = program
        self._chart = chart
        self._kubeconfig = kubeconfig

    async def newest(self, namespace: str, release: str) -> HelmRecord | None:
        """Read the newest revision.

        Raises:
            UnavailableError: The Kubernetes API doesn't answer.
        """
        selector = f"owner=helm,name={release}"
        found = await self._kubernetes.read(object_path("api/v1", "secrets", namespace), {"labelSelector": selector})
        records = [_record_of(secret["metadata"]) for secret in (found or {}).get("items") or ()]
        return max(records, key=lambda record: record.revision, default=None)

    async def forget(self, namespace: str, release: str, revision: int) -> None:
        """Remove the record of one revision."""
        name = f"sh.helm.release.v1.{release}.v{revision}"
        await self._kubernetes.delete(object_path("api/v1", "secrets", namespace, name))

    async def upgrade(self, namespace: str, release: str, values: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Install or upgrade a release, without waiting for its Pods.

        Raises:
            RefusedError: helm refuses the chart, the values or what is there; the message is helm's.
            UnavailableError: It took longer than this process may write.
        """
        if not (self._chart / "Chart.yaml").is_file():
            raise RefusedError(f"There is no chart in {self._chart}.", reason="NoChart")
        words = [
            *("upgrade", release, str(self._chart)),
            "--install",
            *("--namespace", namespace),
            *("--values", "-"),
            *("--labels", ",".join(f"{name}={value}" for name, value in labels.items())),
            *("--history-max", str(HISTORY_MAX)),
            *("--description", f"{labels.get('tradeflow.dev/step', '')} by tradeflow-operator"),
        ]
        await self._run(words, msgspec.json.encode(values))

    async def _run(self, words: list[str], stdin: bytes) -> None:
        seconds = self._fence.write_seconds(UPGRADE_SECONDS_MAX)
        environment = {**os.environ, "HELM_DRIVER": "secret"}
        if self._kubeconfig is not None:
            environment["KUBECONFIG"] = str(self._kubeconfig)
        try:
            process = await asyncio.create_subprocess_exec(
                self._program,
                *words,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise RefusedError(f"helm can't be run: {error.strerror}", reason="NoHelm") from error
        try:
            async with asyncio.timeout(seconds):
                _, said = await process.communicate(stdin)
        except TimeoutError as error:
            raise UnavailableError("helm took longer than the lease holds.", reason="HelmTooSlow") from error
        finally:
            # No write may go on that nobody waits for.
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0:
            message = " ".join(said.decode(errors="replace").split())[-SAID_CHARACTERS_MAX:]
            raise RefusedError(f"helm refuses it: {message}", reason="HelmRefused")


def _record_of(metadata: Mapping[str, Any]) -> HelmRecord:
    labels = metadata.get("labels") or {}
    return HelmRecord(
        secret=metadata["name"],
        revision=int(labels.get("version", "0")),
        status=str(labels.get("status", "unknown")),
        labels=labels,
        created_at=metadata["creationTimestamp"],
    )

"""The helm program, and the records that it keeps as Secrets."""

import asyncio
import os
import zlib
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tradeflow_operator.clients.fence import Fence
from tradeflow_operator.clients.kubernetes import KubernetesClient, object_path
from tradeflow_operator.errors import OperatorError, RefusedError, UnavailableError
from tradeflow_operator.reconcile.helm_templates import evaluating_values

HELM_SECONDS_MAX = 60.0
"""helm renders and writes; it doesn't wait for Pods. Less when the lease isn't renewed."""

HISTORY_MAX = 20
"""Revisions that helm keeps: three a roll-out."""

SAID_CHARACTERS_MAX = 600
"""Of what helm says when it fails."""

PASSES = (
    "cluster unreachable",
    "connection lost",
    "connection refused",
    "connection reset",
    "context deadline exceeded",
    "currently unable to handle",
    "etcdserver:",
    "failed calling webhook",
    "handshake timeout",
    "i/o timeout",
    "in the time allotted",
    "object has been modified",
    "too many requests",
    "unexpected eof",
)
"""What helm says where the API server, or a webhook of it, didn't do its part; it may the next time.

Source: the messages of k8s.io/apimachinery's api/errors, of Go's net and net/http, and of helm.
"""

RECORDS_MAX = 500
"""Far more than helm keeps of a release."""


RECORD_BYTES_MAX = 32 * 1024 * 1024
"""Of one record, unpacked: with the chart and all manifests ours has about one megabyte. Whoever may write a Secret may
write one that unpacks to a gigabyte."""

GZIP = 16 + zlib.MAX_WBITS
"""How zlib calls it."""


class HelmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a release."""

    secret: str
    revision: int
    status: str
    labels: Mapping[str, str]
    created_at: str
    values: Mapping[str, Any] = {}
    """What it was made with; they may hold secrets."""


class Helm:
    """Installs, uninstalls, and reads what was installed."""

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
        path = object_path("api/v1", "secrets", namespace)
        # Each record holds the whole chart: of all but the newest one the labels are enough.
        found = await self._kubernetes.list_metadata(path, limit=RECORDS_MAX, selector=f"owner=helm,name={release}")
        records = [_record_of(secret["metadata"]) for secret in found.get("items") or ()]
        newest = max(records, key=lambda record: record.revision, default=None)
        if newest is None:
            return None
        secret = await self._kubernetes.read(object_path("api/v1", "secrets", namespace, newest.secret))
        return msgspec.structs.replace(newest, values=_values_of(secret or {}))

    async def forget(self, namespace: str, release: str, revision: int) -> None:
        """Remove the record of one revision."""
        name = f"sh.helm.release.v1.{release}.v{revision}"
        await self._kubernetes.delete(object_path("api/v1", "secrets", namespace, name))

    async def upgrade(self, namespace: str, release: str, values: Mapping[str, Any], labels: Mapping[str, str]) -> None:
        """Install or upgrade a release, without waiting for its Pods.

        Raises:
            RefusedError: helm refuses the chart, the values or what is there; the message is helm's. Before that,
                `TemplateRefused`: the values would have it do something.
            UnavailableError: It took longer than this process may write, or the API server didn't do its part.
        """
        _check_values(values)
        if not (self._chart / "Chart.yaml").is_file():
            message = f"There is no chart in {self._chart}; TRADEFLOW_OPERATOR_PLATFORM_CHART says where it is."
            raise RefusedError(message, reason="NoChart")
        words = [
            *("upgrade", release, str(self._chart)),
            "--install",
            # Whoever ran `kubectl scale` or `kubectl edit` owns those fields, and would hold up all later versions.
            *("--server-side=true", "--force-conflicts"),
            *("--namespace", namespace),
            *("--values", "-"),
            *("--labels", ",".join(f"{name}={value}" for name, value in labels.items())),
            *("--history-max", str(HISTORY_MAX)),
            *("--description", f"{labels.get('tradeflow.dev/step', '')} by tradeflow-operator"),
        ]
        await self._run(words, msgspec.json.encode(values))

    async def uninstall(self, namespace: str, release: str) -> None:
        """Remove a release with all of its objects and records, if it is there; Pods end afterwards.

        Raises:
            RefusedError: helm can't; the message is helm's.
            UnavailableError: It took longer than this process may write, or the API server didn't do its part.
        """
        await self._run(["uninstall", release, "--namespace", namespace, "--ignore-not-found"], b"")

    async def _run(self, words: list[str], stdin: bytes) -> None:
        self._fence.write_seconds(HELM_SECONDS_MAX)
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
            message = f"helm can't be run: {error.strerror}; TRADEFLOW_OPERATOR_HELM_PROGRAM says where it is."
            raise RefusedError(message, reason="NoHelm") from error
        talk = asyncio.ensure_future(process.communicate(stdin))
        try:
            _, said = await self._while_leading(talk)
        finally:
            talk.cancel()
            # No write may go on that nobody waits for.
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0:
            raise _meaning_of(_refusal_in(said))

    async def _while_leading(self, talk: "asyncio.Future[tuple[bytes, bytes]]") -> tuple[bytes, bytes]:
        """Wait for what helm says, for as long as the lease is renewed: one renewal is too short for a roll-out.

        Raises:
            UnavailableError: This process leads no more, or it takes too long.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + HELM_SECONDS_MAX
        while not talk.done():
            seconds = min(self._fence.seconds_left(), deadline - clock())
            if seconds <= 0:
                raise UnavailableError("helm took longer than this process may write.", reason="HelmTooSlow")
            await asyncio.wait([talk], timeout=seconds)
        return talk.result()


def _check_values(values: Mapping[str, Any]) -> None:
    """Let only references pass, whoever wrote them: the resource, or helm's record of the services that stay behind.

    Raises:
        RefusedError: `TemplateRefused`.
    """
    found = next(evaluating_values(values), None)
    if found is not None:
        message = (
            f"spec.values.{found} has a template that helm would evaluate with the operator's rights. Write what it "
            "comes to; of templates, references such as {{ .Release.Name }} are taken."
        )
        raise RefusedError(message, reason="TemplateRefused")


def _meaning_of(refusal: str) -> OperatorError:
    if any(words in refusal.lower() for words in PASSES):
        return UnavailableError(f"helm was hindered, and tries again: {refusal}", reason="HelmHindered")
    return RefusedError(f"helm refuses it: {refusal}", reason="HelmRefused")


def _refusal_in(said: bytes) -> str:
    """Cut out the error, which comes after what helm logs; where there is none, all of it."""
    text = said.decode(errors="replace")
    _, error, words = f"\n{text}".partition("\nError: ")
    return " ".join(f"{error}{words}".split() if error else text.split())[-SAID_CHARACTERS_MAX:]


def _record_of(metadata: Mapping[str, Any]) -> HelmRecord:
    labels = metadata.get("labels") or {}
    return HelmRecord(
        secret=metadata["name"],
        revision=int(labels.get("version", "0")),
        status=str(labels.get("status", "unknown")),
        labels=labels,
        created_at=metadata["creationTimestamp"],
    )


class _Stored(msgspec.Struct):
    """What helm keeps of a revision, as far as it is read here."""

    config: dict[str, Any] | None = None


def _values_of(secret: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read the values of a record: JSON, compressed, and encoded once by helm and once by Kubernetes."""
    stored = (secret.get("data") or {}).get("release")
    if not stored:
        return {}
    try:
        unpacked = zlib.decompressobj(GZIP).decompress(b64decode(b64decode(stored)), RECORD_BYTES_MAX)
        return msgspec.json.decode(unpacked, type=_Stored).config or {}
    except (ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise RefusedError(
            f"helm's record {secret['metadata']['name']} can't be read.", reason="UnreadableRecord"
        ) from error

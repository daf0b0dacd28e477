"""What a kubelet does with a migration's Pods, on an API server that has no nodes."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.forked_process import ForkedProcess, import_once
from tests.support.platform import REPOSITORY, alarm

COMMAND_LINE = "services.embedded"
"""What `tradeflow` is in the image."""

RUN_SECONDS_MAX = 120.0
"""For a run of a second."""

LONG_AGO = "2020-01-01T00:00:00Z"
"""When each container says that it ended: the pause before a Job's next try, 10 s and more, is over at once."""

import_once(f"{COMMAND_LINE}.commands.migrate")


class PodRunner:
    """Runs what Pods say as processes of this machine, and tells how they ended, as a kubelet does."""

    def __init__(self, namespace: KubernetesNamespace, folder: Path) -> None:
        self._namespace = namespace
        self._folder = folder
        self.ran: list[list[str]] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            for pod in await asyncio.to_thread(self._namespace.all_of, "pods"):
                if pod["status"].get("phase") == "Pending" and "containerStatuses" not in pod["status"]:
                    await asyncio.to_thread(self._run, pod)
            await asyncio.sleep(0.2)

    def hinder(self, reason: str, message: str) -> None:
        """Say of each Pod that its container can't start."""
        waiting = {"reason": reason, "message": message}
        for pod in self._namespace.all_of("pods"):
            self._tell(pod, "Pending", {"waiting": waiting})

    def find_no_node(self, message: str) -> None:
        """Say of each Pod what a scheduler says that has no node for it."""
        scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        for pod in self._namespace.all_of("pods"):
            self._patch(pod, {"conditions": [scheduled]})

    def relent(self) -> None:
        """Take that back: they start as if they were new."""
        scheduled = {"type": "PodScheduled", "status": "True", "reason": "", "message": ""}
        for pod in self._namespace.all_of("pods"):
            self._patch(pod, {"containerStatuses": None, "conditions": [scheduled]})

    def _run(self, pod: dict[str, Any]) -> None:
        container, name = pod["spec"]["containers"][0], pod["metadata"]["name"]
        last_words = self._folder / f"{name}.last-words"
        words = [
            str(last_words) if word == container["terminationMessagePath"] else word for word in container["command"]
        ]
        self.ran.append(container["command"])
        environment = {each["name"]: self._value(each["valueFrom"]["secretKeyRef"]) for each in container["env"]}
        log = self._folder / f"{name}.log"
        process = ForkedProcess(
            COMMAND_LINE, *words[1:], environment={**os.environ, **environment}, errors_file=log, folder=REPOSITORY
        )
        with alarm(process, RUN_SECONDS_MAX), process.stdout:
            process.stdout.read()
            exit_code = process.wait()
        said = last_words.read_text() if last_words.exists() else (log.read_text()[-2000:] if exit_code else "")
        terminated = {"exitCode": exit_code, "message": said, "finishedAt": LONG_AGO}
        self._tell(pod, "Failed" if exit_code else "Succeeded", {"terminated": terminated})

    def _tell(self, pod: dict[str, Any], phase: str, state: dict[str, Any]) -> None:
        container = pod["spec"]["containers"][0]
        told = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False}
        self._patch(pod, {"phase": phase, "containerStatuses": [{**told, "restartCount": 0, "state": state}]})

    def _patch(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        patch = json.dumps({"status": status})
        self._namespace.kubectl("patch", "pod", pod["metadata"]["name"], "--subresource=status", "--patch", patch)

    def _value(self, reference: dict[str, str]) -> str:
        encoded = self._namespace.kubectl(
            "get", "secret", reference["name"], f"--output=jsonpath={{.data.{reference['key']}}}"
        )
        decoded = subprocess.run(["base64", "-d"], input=encoded, capture_output=True, text=True, check=True)
        return decoded.stdout


@asynccontextmanager
async def running_pods(namespace: KubernetesNamespace, folder: Path) -> AsyncIterator[PodRunner]:
    runner = PodRunner(namespace, folder)
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

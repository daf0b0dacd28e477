"""Kubernetes with one node, on this machine's own kernel: pods run, Services have addresses, names are found.

It is the API server of `control_plane.py` on an address that pods reach, with containerd, kubelet, scheduler, proxy and
CoreDNS around it. It needs root. Images are loaded, never pulled; NetworkPolicies are kept and not enforced.
"""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.parts import cluster_network
from tests.parts.apt import end_of
from tests.parts.cluster_network import API_ADDRESS, NODE_ADDRESS
from tests.parts.cluster_node import NODE, PAUSE_IMAGE, NodeFiles, names_service
from tests.parts.control_plane import ControlPlane
from tests.parts.go_programs import ensure_program
from tests.parts.kubernetes import KubernetesPart
from tests.parts.kubernetes_identities import MASTERS, SERVICE_HOSTS, Identities
from tests.parts.machine_programs import ensure_machine_programs
from tests.parts.packaged import POLL_SECONDS, START_SECONDS_MAX
from tests.parts.pause_image import write_pause_image
from tests.parts.process import ServerProcess
from tests.parts.server import ServerFailedError

PORT = 6443
"""Of the API server; the address is the cluster's own."""

PROGRAMS = ("kube-scheduler", "kubelet", "kube-proxy", "coredns")

LOAD_SECONDS_MAX = 300
"""For an image of some hundred MB, on a busy disk."""

DOCKER_HUB = "docker.io/library"
"""What a name of an image without a registry stands for."""

_PROCESSES = ("names", "kubelet", "proxy", "scheduler", "containerd")
"""In the order in which they end."""


class OneNodeCluster(ControlPlane):
    """The one cluster of this machine, in a folder."""

    def __init__(self, folder: Path) -> None:
        """Look at nothing yet."""
        super().__init__(KubernetesPart(), folder)
        place = replace(self._place, host=NODE_ADDRESS, port=PORT)
        identities = Identities(place)
        # Made before the control plane asks for it: pods find the API by its Service's address.
        identities.authority.issue("kube-apiserver", hosts=(NODE_ADDRESS, API_ADDRESS, "localhost", *SERVICE_HOSTS))
        to_kubelet = identities.authority.issue("kube-apiserver-kubelet-client", organization=MASTERS)
        self._place = replace(
            place,
            flags=(
                "--endpoint-reconciler-type=lease",
                "--allow-privileged=true",
                f"--kubelet-client-certificate={to_kubelet.certificate_file}",
                f"--kubelet-client-key={to_kubelet.key_file}",
                "--kubelet-preferred-address-types=InternalIP",
            ),
        )
        self._files = NodeFiles(folder=folder / "node", identities=identities)
        self._processes = {name: ServerProcess(folder / f"{name}.pid") for name in _PROCESSES}

    def start(self) -> str:
        """Bring everything up and wait until the node takes pods."""
        ensure_machine_programs("cluster", "containerd", "ip", "iptables", "nft", "gcc")
        for program in PROGRAMS:
            ensure_program(program)
        self._files.write()
        cluster_network.bring_up()
        self._run("containerd", self._files.containerd, until=lambda: self._asked(*self._files.ctr("version")))
        self._load_pause_image()
        url = super().start()
        self._run("scheduler", self._files.scheduler)
        self._run("proxy", self._files.proxy)
        self._run("kubelet", self._files.kubelet, until=self._node_is_ready)
        self._run("names", self._files.names)
        self.kubectl("apply", "--filename", "-", stdin=_list_of(names_service()))
        return url

    def load(self, archive: Path) -> None:
        """Make the image of an archive known to the node."""
        words = self._files.ctr("images", "import", str(archive))
        subprocess.run(words, check=True, capture_output=True, timeout=LOAD_SECONDS_MAX)

    def tag(self, image: str, other: str) -> None:
        """Make an image known to the node by another name too, such as `tradeflow:next`."""
        words = self._files.ctr("images", "tag", "--force", *(f"{DOCKER_HUB}/{name}" for name in (image, other)))
        subprocess.run(words, check=True, capture_output=True, timeout=LOAD_SECONDS_MAX)

    def kill(self) -> None:
        """End all of it; objects stay, and so do images."""
        self._end_node()
        super().kill()
        cluster_network.take_down(self._files.folder)

    def stop(self) -> None:
        """The same: an orderly end takes most of a minute, and nobody needs it."""
        self.kill()

    def wipe(self) -> None:
        """End it, and forget its objects; images stay."""
        self.kill()
        super().wipe()
        for left in ("addresses", "kubelet", "kubelet-pki"):
            shutil.rmtree(self._files.folder / left, ignore_errors=True)

    def _end_node(self) -> None:
        for name in _PROCESSES[:-1]:
            self._processes[name].end(signal.SIGKILL)
        if self._processes["containerd"].pid() is not None:
            self._end_containers()
        self._processes["containerd"].end(signal.SIGKILL)

    def _end_containers(self) -> None:
        for word in ("tasks", "containers"):
            listed = subprocess.run(
                self._files.ctr(word, "ls", "-q"), capture_output=True, text=True, check=False, timeout=60
            )
            for identity in listed.stdout.split():
                self._asked(*self._files.ctr(word, "rm", *(["--force"] if word == "tasks" else []), identity))

    def _run(self, name: str, command: Callable[[], list[str]], until: Callable[[], bool] = lambda: True) -> None:
        process, log_file = self._processes[name], self._log_of(name)
        if process.pid() is None:
            process.start(command(), log_file)
        deadline = time.monotonic() + START_SECONDS_MAX
        while not until():
            if process.pid() is None or time.monotonic() > deadline:
                raise ServerFailedError(f"the cluster's {name} did not start, see {log_file}:\n{end_of(log_file)}")
            time.sleep(POLL_SECONDS)

    def _load_pause_image(self) -> None:
        archive = self._files.folder / "pause.tar"
        if not archive.exists():
            write_pause_image(archive, PAUSE_IMAGE)
        self.load(archive)

    def _node_is_ready(self) -> bool:
        try:
            told = self.kubectl("get", "node", NODE, "--output", "json")
        except AssertionError:
            return False
        conditions = json.loads(told)["status"]["conditions"]
        return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)

    @staticmethod
    def _asked(*words: str) -> bool:
        ended = subprocess.run(words, capture_output=True, check=False, timeout=60)
        return ended.returncode == 0


def _list_of(items: list[dict[str, object]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})

"""The operator as a process on a real API server, and the definitions of its kinds."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts.control_plane import ControlPlane
from tests.parts.home import locked
from tests.parts.kubernetes_namespace import KubernetesNamespace
from tests.support.platform import REPOSITORY

DEFINITIONS = REPOSITORY / "charts" / "tradeflow-operator" / "templates" / "crds"

STOP_SECONDS_MAX = 30.0
"""The operator gives its lease up first."""


def install_definitions(server: ControlPlane) -> None:
    """Let an API server know our kinds; the workers of a run do it once."""
    done = server.kubeconfig.with_name("definitions.installed")
    with locked(done.with_suffix(".lock")):
        if done.exists():
            return
        files = sorted(DEFINITIONS.glob("*.yaml"))
        server.kubectl("apply", "--server-side", "--filename", "-", stdin="\n---\n".join(map(_definition, files)))
        names = [f"crd/{file.stem}.tradeflow.dev" for file in files]
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        done.touch()


def _definition(file: Path) -> str:
    """Leave out the lines of the chart's own conditions: each stands on a line of its own."""
    return "".join(line for line in file.read_text().splitlines(keepends=True) if not line.lstrip().startswith("{{"))


class OperatorProcess:
    """One replica of the operator, which serves one namespace."""

    def __init__(self, namespace: KubernetesNamespace, log_file: Path, **settings: str) -> None:
        """Prepare; `settings` are the operator's, in upper case and without their prefix."""
        self.log_file = log_file
        told = {
            "KUBECONFIG": str(namespace.kubeconfig),
            "NAMESPACES": f'["{namespace.name}"]',
            "LEASE_NAMESPACE": namespace.name,
            # A busy machine renews it late.
            "LEASE_SECONDS": "15",
            "LEASE_RENEW_SECONDS": "1",
            "RESYNC_SECONDS": "2",
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": "0",
            **settings,
        }
        self._environment = {
            **os.environ,
            **{f"TRADEFLOW_OPERATOR_{name}": value for name, value in told.items()},
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "no_proxy": "*",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin a process, without waiting for it: what it does shows on the API server."""
        with self.log_file.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tradeflow_operator"],
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it without any warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int | None:
        """Ask it to end; return its exit code."""
        process = self._process
        if process is None:
            return None
        watchdog = threading.Timer(STOP_SECONDS_MAX, process.kill)
        watchdog.start()
        process.terminate()
        process.wait()
        watchdog.cancel()
        watchdog.join()
        return process.returncode

    @property
    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None


@contextmanager
def running_operator(namespace: KubernetesNamespace, folder: Path, **settings: str) -> Iterator[OperatorProcess]:
    """Run one operator for a test's namespace."""
    install_definitions(namespace.server)
    process = OperatorProcess(namespace, folder / "operator.log", **settings)
    process.start()
    try:
        yield process
    finally:
        process.stop()

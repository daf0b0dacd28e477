"""The operator as a process of its own on a real API server: started, stopped, held and killed by tests."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.parts.control_plane import ControlPlane
from tests.parts.home import HOST, locked
from tests.support.forked_process import ForkedProcess, import_once
from tests.support.operator_crds import definitions
from tests.support.platform import REPOSITORY
from tests.support.waiting import PATIENCE_SECONDS, wait_until

MODULE = "tradeflow_operator"

import_once(f"{MODULE}.startup")  # who tests services alone doesn't wait for it


def install_definitions(server: ControlPlane) -> None:
    """Let an API server know our kinds; the workers of a run do it once."""
    done = server.kubeconfig.with_name("definitions.installed")
    with locked(done.with_suffix(".lock")):
        if done.exists():
            return
        kinds = definitions()
        server.kubectl("apply", "--server-side", "--filename", "-", stdin="\n---\n".join(map(json.dumps, kinds)))
        names = [f"crd/{kind['metadata']['name']}" for kind in kinds]
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        done.touch()


class Operator:
    """One replica."""

    def __init__(self, kubeconfig: Path, log_file: Path, settings: Mapping[str, str], *, forked: bool = True) -> None:
        """Start it; it listens on a port of its own. One that isn't forked shares no memory with its like."""
        told = {"kubeconfig": str(kubeconfig), "http_host": HOST, "http_port": "0", **settings}
        environment = {**os.environ, **{f"TRADEFLOW_OPERATOR_{name.upper()}": value for name, value in told.items()}}
        self.log_file = log_file
        folder = REPOSITORY / "operator"
        self._process: ForkedProcess | subprocess.Popen[bytes]
        if forked:
            self._process = ForkedProcess(MODULE, environment=environment, errors_file=log_file, folder=folder)
        else:
            with log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", MODULE], env=environment, stderr=log, cwd=folder
                )
        self.pid = self._process.pid

    def lines(self) -> list[dict[str, Any]]:
        """Return what it has logged."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def wait_until_started(self) -> None:
        """Wait until it serves its probes."""
        wait_until(lambda: self._port() is not None or not self.runs, "the operator didn't start")
        assert self.runs, self.log_file.read_text()[-3000:]

    def wait_until_leading(self) -> None:
        """Wait until it leads."""
        wait_until(self.leads, "the operator doesn't lead")

    def leads(self) -> bool:
        """Tell whether it has taken the lease."""
        return any(line.get("event") == "lease_taken" for line in self.lines())

    def get(self, path: str) -> httpx.Response:
        """Ask a probe, or for the metrics."""
        return httpx.get(f"http://{HOST}:{self._port()}{path}", timeout=30, trust_env=False)

    def metric(self, name: str, **labels: str) -> float:
        """Sum a metric over all label sets that have these labels."""
        total = 0.0
        for line in self.get("/metrics").text.splitlines():
            match = re.fullmatch(rf"{name}(?:{{(.*)}})? ([0-9.e+-]+)", line)
            if match and all(f'{label}="{value}"' in (match[1] or "") for label, value in labels.items()):
                total += float(match[2])
        return total

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without any warning, if it runs."""
        # One that is held dies, too.
        self._process.kill()
        self._ended()

    def stop(self) -> int:
        """Let it end in order; return its code."""
        if self.runs:
            self.signal(signal.SIGCONT)
            self._process.terminate()
        return self._ended()

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def _port(self) -> int | None:
        for line in self.lines():
            if line.get("event") == "operator_started":
                return int(line["http_port"])
        return None

    def _ended(self) -> int:
        exit_code = self._process.wait(PATIENCE_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return exit_code


@contextmanager
def operators(
    kubeconfig: Path, folder: Path, *, forked: bool = True, **common: str
) -> Iterator[Callable[..., Operator]]:
    """Start operators during the body: `start(name, setting=value)`; none outlives it."""
    started: list[Operator] = []

    def start(name: str = "operator", **settings: str) -> Operator:
        log_file = folder / f"{name}-{len(started)}.log"
        operator = Operator(kubeconfig, log_file, {**common, **settings}, forked=forked)
        started.append(operator)
        operator.wait_until_started()
        return operator

    try:
        yield start
    finally:
        for operator in started:
            with suppress(ProcessLookupError):
                operator.kill()

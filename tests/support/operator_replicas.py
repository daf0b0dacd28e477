"""The operator as a process of its own: started, stopped, held and killed by tests."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]

SECONDS_MAX = 90.0
"""How long a busy machine may take for anything."""


class Operator:
    """One process."""

    def __init__(self, kubeconfig: Path, log_file: Path, settings: Mapping[str, str]) -> None:
        """Start it; it listens on a port of its own."""
        names = {f"TRADEFLOW_OPERATOR_{name.upper()}": value for name, value in settings.items()}
        environment = {
            **os.environ,
            "TRADEFLOW_OPERATOR_KUBECONFIG": str(kubeconfig),
            "TRADEFLOW_OPERATOR_HTTP_HOST": "127.0.0.1",
            "TRADEFLOW_OPERATOR_HTTP_PORT": "0",
            **names,
        }
        self.log_file = log_file
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tradeflow_operator"], env=environment, stderr=log, cwd=ROOT / "operator"
            )
        self.pid = self._process.pid

    def lines(self) -> list[dict[str, Any]]:
        """Return what it has logged."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]

    def wait_until_started(self) -> None:
        """Wait until it serves its probes."""
        wait_until(lambda: self._port() is not None or self._process.poll() is not None, "the operator didn't start")
        assert self._process.poll() is None, self.log_file.read_text()[-3000:]

    def wait_until_leading(self) -> None:
        """Wait until it leads."""
        wait_until(self.leads, "the operator doesn't lead")

    def leads(self) -> bool:
        """Tell whether it has taken the lease."""
        return any(line.get("event") == "lease_taken" for line in self.lines())

    def get(self, path: str) -> httpx.Response:
        """Ask a probe, or for the metrics."""
        return httpx.get(f"http://127.0.0.1:{self._port()}{path}", timeout=30, trust_env=False)

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
        """End it at once."""
        self._process.kill()
        self._process.wait(SECONDS_MAX)

    def stop(self) -> int:
        """Let it end in order; return its code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        return self._process.wait(SECONDS_MAX)

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def _port(self) -> int | None:
        for line in self.lines():
            if line.get("event") == "operator_started":
                return int(line["http_port"])
        return None


@contextmanager
def operators(kubeconfig: Path, folder: Path, **common: str) -> Iterator[Callable[..., Operator]]:
    """Start operators during the body: `start(name, setting=value)`; none outlives it."""
    started: list[Operator] = []

    def start(name: str = "operator", **settings: str) -> Operator:
        operator = Operator(kubeconfig, folder / f"{name}-{len(started)}.log", {**common, **settings})
        started.append(operator)
        operator.wait_until_started()
        return operator

    try:
        yield start
    finally:
        for operator in started:
            if operator.runs:
                operator.signal(signal.SIGCONT)
                operator.kill()


def wait_until(condition: Callable[[], bool], otherwise: str, *, seconds_max: float = SECONDS_MAX) -> None:
    """Poll until it holds.

    Raises:
        AssertionError: It doesn't within the bound.
    """
    until = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{otherwise} within {seconds_max:g} s")
        time.sleep(0.1)

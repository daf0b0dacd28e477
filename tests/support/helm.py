"""Helm, asked by tests: what a chart renders to, or why it refuses."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.parts.go_programs import ensure_program

CHARTS = Path(__file__).parents[2] / "charts"

KINDS = (
    "DatabaseMigration",
    "EventAccess",
    "EventSchema",
    "EventTopic",
    "JWTKeySet",
    "KafkaConnection",
    "RateLimitPolicy",
    "TradeFlow",
)
"""What a cluster with the operator's chart knows."""

SECONDS_MAX = 120
"""For one command, on a busy machine."""

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the message is its own."""


def render(
    chart: str, values: Mapping[str, Any], *, release: str = "shop", files: tuple[str, ...] = (), knows: bool = True
) -> list[Manifest]:
    """Render a chart.

    Args:
        chart: Its folder's name.
        values: Over its own values.
        release: The release's name.
        files: Values files in the chart's folder, in their order.
        knows: Whether the cluster has the operator's kinds.

    Raises:
        HelmError: The chart, or its schema, refuses the values.
    """
    words = ["template", release, str(CHARTS / chart), "--namespace", "shop", "--values", "-"]
    for file in files:
        words[-2:-2] = ["--values", str(CHARTS / chart / file)]
    for kind in KINDS if knows else ():
        words += ["--api-versions", f"tradeflow.dev/v1alpha1/{kind}"]
    text = helm(*words, stdin=json.dumps(values))
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def helm(*words: str, stdin: str = "", kubeconfig: Path | None = None, seconds_max: float = SECONDS_MAX) -> str:
    """Run helm, and return what it prints.

    Raises:
        HelmError: It failed.
    """
    command = [str(ensure_program("helm")), *words]
    if kubeconfig is not None:
        command += ["--kubeconfig", str(kubeconfig)]
    ended = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=seconds_max)
    if ended.returncode != 0:
        told = [line for line in ended.stderr.splitlines() if "symbolic link" not in line]
        raise HelmError("\n".join(told))
    return ended.stdout


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    """Return the only manifest of a kind, and of a name.

    Raises:
        AssertionError: There is none, or more than one.
    """
    found = [
        manifest for manifest in manifests if manifest["kind"] == kind and name in {None, manifest["metadata"]["name"]}
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
    return found[0]

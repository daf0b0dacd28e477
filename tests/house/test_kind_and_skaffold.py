"""kind-config.yaml and skaffold.yaml name what is there."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.gateway.settings import GatewaySettings

ROOT = Path(__file__).parents[2]
SKAFFOLD: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
KIND: dict[str, Any] = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
DEV_VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts/tradeflow/values-dev.yaml").read_text())

PROFILES = ["", *(str(profile["name"]) for profile in SKAFFOLD["profiles"])]


def _with_profile(name: str) -> dict[str, Any]:
    """Return the configuration as skaffold has it with a profile: its patches are RFC 6902's."""
    configuration = deepcopy(SKAFFOLD)
    patches: list[dict[str, Any]] = next(
        (profile["patches"] for profile in SKAFFOLD["profiles"] if profile["name"] == name), []
    )
    for patch in patches:
        *way, last = str(patch["path"]).strip("/").split("/")
        place: Any = configuration
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
        key: Any = int(last) if isinstance(place, list) else last
        if patch["op"] != "add":
            place[key]  # what is replaced or removed is there
        if patch["op"] == "remove":
            del place[key]
        else:
            place[key] = patch["value"]
    return configuration


@pytest.mark.parametrize("profile", PROFILES)
def test_each_release_has_its_chart_and_its_values(profile: str) -> None:
    for release in _with_profile(profile)["deploy"]["helm"]["releases"]:
        assert (ROOT / release["chartPath"] / "Chart.yaml").exists()
        assert all((ROOT / file).exists() for file in release.get("valuesFiles", []))


@pytest.mark.parametrize("profile", PROFILES)
def test_kinds_come_before_parts_and_parts_before_the_platform(profile: str) -> None:
    names = [release["name"] for release in _with_profile(profile)["deploy"]["helm"]["releases"]]

    assert names == [name for name in ("tradeflow-operator", "tradeflow-dev", "tradeflow") if name in names]
    assert names[0] == "tradeflow-operator"
    assert names[-1] == "tradeflow"


@pytest.mark.parametrize("profile", ["ci", "prod"])
def test_code_is_replaced_only_while_somebody_develops(profile: str) -> None:
    configuration = _with_profile(profile)
    artifact = configuration["build"]["artifacts"][0]

    assert "sync" not in artifact
    assert "buildArgs" not in artifact["docker"]
    assert not any("liveReload" in str(release) for release in configuration["deploy"]["helm"]["releases"])


def test_what_is_synced_is_the_code_that_the_image_has() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    folders = {rule["src"].split("/")[0] for rule in SKAFFOLD["build"]["artifacts"][0]["sync"]["manual"]}

    assert folders == {"services", "operator", "proto"}
    assert all(f"COPY {folder} {folder}" in dockerfile for folder in folders)


def test_the_node_image_is_pinned_by_digest() -> None:
    for node in KIND["nodes"]:
        assert re.fullmatch(r"kindest/node:v1\.\d+\.\d+@sha256:[0-9a-f]{64}", node["image"])


def test_the_gateway_is_reached_at_its_own_port_on_this_machine_alone() -> None:
    mapping = KIND["nodes"][0]["extraPortMappings"][0]

    assert mapping["containerPort"] == DEV_VALUES["gateway"]["service"]["nodePort"]
    assert mapping["hostPort"] == GatewaySettings.model_fields["http_port"].default
    assert mapping["listenAddress"] == "127.0.0.1"

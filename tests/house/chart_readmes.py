"""A chart's README: what it is, how it is installed, and each value with its comment."""

import json
from collections.abc import Iterator
from typing import Any

from tests.house.chart_schemas import SETTINGS, settings_schema
from tests.house.chart_values import ChartValue, leaves

DEFAULT_CHARACTERS_MAX = 60
"""Longer defaults are looked up in values.yaml."""


def readme_of(chart: dict[str, Any], values: tuple[ChartValue, ...], introduction: str) -> str:
    """Write the README of a chart by its Chart.yaml and its values."""
    lines = [f"# {chart['name']}", "", chart["description"], "", introduction.strip(), "", "## Values", ""]
    lines += ["| value | default | what |", "|---|---|---|"]
    lines += [_row(".".join(value.path), value.default, value.description) for value in leaves(values)]
    for value in values:
        if value.schema_note.startswith("settings "):
            lines += ["", "## Settings", "", *_settings(value.schema_note.split()[1])]
    return "\n".join([*lines, ""])


def _settings(service: str) -> Iterator[str]:
    prefix = SETTINGS[service].model_config["env_prefix"]
    yield f"`settings` takes these; each becomes `{prefix}<NAME>`."
    yield ""
    yield "| name | default | what |"
    yield "|---|---|---|"
    for name, rule in sorted(settings_schema(service)["properties"].items()):
        yield _row(name, rule.get("default"), rule.get("description", ""))


def _row(name: str, default: Any, description: str) -> str:
    text = json.dumps(default)
    shown = f"`{text}`" if len(text) <= DEFAULT_CHARACTERS_MAX else "see values.yaml"
    return f"| `{name}` | {shown} | {description} |".replace("…|", "… |")

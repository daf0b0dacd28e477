"""The kinds' definitions, read from the chart without Helm."""

from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "charts" / "tradeflow-operator" / "templates" / "crds"


def definitions() -> list[dict[str, Any]]:
    """Read all; lines of the template's own conditions are left out, as if `crds.keep` were set."""
    return [definition_of(path) for path in sorted(CRDS.glob("*.yaml"))]


def definition_of(path: Path) -> dict[str, Any]:
    """Read one."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("{{")]
    definition: dict[str, Any] = yaml.safe_load("\n".join(lines))
    return definition

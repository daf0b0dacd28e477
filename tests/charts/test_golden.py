"""Each chart's rendering, as it was last looked at: `python -m tests.charts.test_golden` writes it anew."""

import re
from base64 import b64decode
from pathlib import Path

import pytest
import yaml

from tests.charts.chart_values import NEEDED
from tests.support.helm import render

pytestmark = [pytest.mark.part("helm")]

GOLDEN = Path(__file__).parent / "golden"

_DRAWN = re.compile(r"\b[A-Za-z0-9]{32,64}\b")
"""Passwords and their digests, which are others each time."""


def text_of(chart: str) -> str:
    """Render a chart with what it needs; what is drawn by chance is blotted out."""
    manifests = render(chart, NEEDED[chart])
    for manifest in manifests:
        if manifest["kind"] == "Secret":
            plain = {key: b64decode(value).decode() for key, value in manifest.pop("data", {}).items()}
            values = {**plain, **manifest.get("stringData", {})}
            manifest["stringData"] = {key: _DRAWN.sub("drawn", value) for key, value in values.items()}
    ordered = sorted(manifests, key=lambda manifest: (manifest["kind"], manifest["metadata"]["name"]))
    return yaml.safe_dump_all(ordered, width=160, allow_unicode=True)


@pytest.mark.parametrize("chart", sorted(NEEDED))
def test_a_chart_renders_to_what_was_looked_at(chart: str) -> None:
    assert text_of(chart) == (GOLDEN / f"{chart}.yaml").read_text(), "run `python -m tests.charts.test_golden`"


if __name__ == "__main__":
    for name in NEEDED:
        (GOLDEN / f"{name}.yaml").write_text(text_of(name))

from pathlib import Path

import pytest
import yaml

from tests.support.golden_plans import cases, planned


@pytest.mark.parametrize("path", cases(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_plan_is_the_golden_one(path: Path) -> None:
    assert planned(path) == yaml.safe_load(path.read_text())["plan"]

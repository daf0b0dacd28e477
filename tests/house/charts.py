"""`python -m tests.house.charts` writes each chart's values.schema.json and README.md anew from its values.yaml.

The umbrella's event schemas are made of the services' contracts.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.house.chart_event_schemas import event_schemas
from tests.house.chart_readmes import readme_of
from tests.house.chart_schemas import schema_of
from tests.house.chart_values import read_values

CHARTS = Path(__file__).parents[2] / "charts"

UMBRELLA = "tradeflow"

INTRODUCTION = "introduction.md"
"""What a chart's README says between its description and its values; the chart's package leaves it out."""


def generated(folder: Path) -> dict[Path, str]:
    """Return what belongs into a chart's folder, by file."""
    values = read_values(folder / "values.yaml")
    chart: dict[str, Any] = yaml.safe_load((folder / "Chart.yaml").read_text())
    dependencies = tuple(str(dependency["name"]) for dependency in chart.get("dependencies", ()))
    schema = schema_of(chart["name"], values, dependencies)
    introduction = (folder / INTRODUCTION).read_text()
    schemas = event_schemas() if folder.name == UMBRELLA else {}
    return {
        **{folder / "schemas" / name: text for name, text in schemas.items()},
        folder / "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        folder / "README.md": readme_of(chart, values, introduction),
    }


def charts() -> Iterator[Path]:
    """Yield the folders of the charts that take values."""
    yield from sorted(file.parent for file in CHARTS.glob("*/values.yaml"))


def main() -> None:
    """Write all of them."""
    for folder in charts():
        for file, text in generated(folder).items():
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)


if __name__ == "__main__":
    main()

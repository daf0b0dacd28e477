"""What Grafana's dashboards are made of: rows of panels that look alike everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA_VERSION = 39
"""Grafana 10 and newer read it, and bring it up to date."""

COLUMNS = 24
"""The width of Grafana's grid."""

PANEL_HEIGHT = 8
"""In units of the grid: about 300 pixels."""

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
"""Chosen at the top of each dashboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a panel shows; `legend` names a series by its labels."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart, or one number with `kind="stat"`."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    help: str = ""
    kind: str = "timeseries"
    steps: tuple[tuple[str, float | None], ...] = (("green", None),)
    """Colours, each from a value on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels beside each other under a title."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page."""

    name: str
    title: str
    rows: tuple[Row, ...]
    chart: str = "tradeflow"
    """Which chart brings it."""

    def to_json(self) -> dict[str, Any]:
        """Write it as Grafana reads it."""
        return {
            "uid": f"tradeflow-{self.name}",
            "title": f"TradeFlow: {self.title}",
            "tags": ["tradeflow"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": [
                {
                    "type": "dashboards",
                    "tags": ["tradeflow"],
                    "asDropdown": False,
                    "title": "TradeFlow",
                    "keepTime": True,
                }
            ],
            "annotations": {"list": []},
            "templating": {
                "list": [{"type": "datasource", "name": "datasource", "query": "prometheus", "label": "Data"}]
            },
            "panels": _laid_out(self.rows),
        }


def a_query(expr: str, legend: str = "") -> tuple[Query, ...]:
    """Show one query."""
    return (Query(expr=expr, legend=legend),)


def a_number(title: str, expr: str, **fields: Any) -> Panel:
    """Show one number."""
    return Panel(title=title, queries=a_query(expr), kind="stat", **fields)


def quantiles(histogram: str, by: str = "", selector: str = "") -> tuple[Query, ...]:
    """Show the median and the 99th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    rate = f"sum by ({labels}) (rate({histogram}_bucket{selector}[$__rate_interval]))"
    name = f"{{{{{by}}}}} " if by else ""
    return tuple(
        Query(expr=f"histogram_quantile({quantile}, {rate})", legend=f"{name}{word}")
        for quantile, word in ((0.5, "half"), (0.99, "99 of 100"))
    )


def _laid_out(rows: Sequence[Row]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        panels.append(_row(row.title, len(panels) + 1, y))
        y += 1
        width = COLUMNS // len(row.panels)
        for place, panel in enumerate(row.panels):
            grid = {"h": PANEL_HEIGHT, "w": width, "x": place * width, "y": y}
            panels.append(_panel(panel, len(panels) + 1, grid))
        y += PANEL_HEIGHT
    return panels


def _row(title: str, number: int, y: int) -> dict[str, Any]:
    grid = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": grid, "panels": []}


def _panel(panel: Panel, number: int, grid: dict[str, int]) -> dict[str, Any]:
    thresholds = {
        "mode": "absolute",
        "steps": [{"color": color, "value": value} for color, value in panel.steps],
    }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": DATA_SOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "thresholds": thresholds}, "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": DATA_SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
            }
            for place, query in enumerate(panel.queries)
        ],
    }


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"colorMode": "background", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}

"""`make dashboard`: the panels of `dashboard.yaml` as the JSON that Grafana provisions.

A test compares the JSON in the repository with what this makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
OUTPUT = FOLDER / "provisioning" / "dashboards" / "ziggurat.json"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24  # of Grafana's grid
MAX_PANELS_IN_ONE_ROW = 5  # rows with more are wrapped
PANELS_IN_A_WRAPPED_ROW = 3


def dashboard() -> dict[str, Any]:
    """Build the dashboard in Grafana's JSON model."""
    firing = {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Ziggurat.*", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}}",
    }
    return {
        "uid": "ziggurat",
        "title": "Ziggurat",
        "description": "Is it slow? Where? Is it full? Does it miss its targets? Is it sick? The first "
        "row answers, the others say why.",
        "tags": ["ziggurat"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,  # one crosshair for all panels
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": [firing]},
        "templating": {"list": []},
        "panels": list(_panels(yaml.safe_load((FOLDER / "dashboard.yaml").read_text()))),
    }


def _panels(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield every panel with an id and a place below the title of its row."""
    ids = count(1)
    y = 0
    for row in rows:
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
        yield {
            "id": next(ids),
            "type": "row",
            "title": row["row"],
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        y += 1
        height = row.get("height", 8)
        panels = row["panels"]
        across = len(panels) if len(panels) <= MAX_PANELS_IN_ONE_ROW else PANELS_IN_A_WRAPPED_ROW
        for i, panel in enumerate(panels):
            down, column = divmod(i, across)
            left = COLUMNS * column // across
            right = COLUMNS * (column + 1) // across
            place = {"h": height, "w": right - left, "x": left, "y": y + height * down}
            yield {"id": next(ids), "gridPos": place} | _panel(**panel)
        y += height * -(-len(panels) // across)


def _panel(
    *,
    title: str,
    about: str,
    queries: dict[str, str],
    kind: str = "timeseries",
    unit: str = "short",
    limits: list[float] | dict[str, list[float]] | None = None,
    stack: bool = False,
) -> dict[str, Any]:
    """Build one panel; `limits` are the thresholds of all queries, or of each by its legend."""
    by_query = limits if isinstance(limits, dict) else {}
    for_all = limits if isinstance(limits, list) else []
    defaults: dict[str, Any] = {"unit": unit, "min": 0, "thresholds": _thresholds(for_all)}
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "thresholds", "value": _thresholds(its)}],
        }
        for name, its in by_query.items()
    ]
    targets: list[dict[str, Any]] = [
        {"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend}
        for i, (legend, expr) in enumerate(queries.items())
    ]
    panel: dict[str, Any] = {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "targets": targets,
    }
    match kind:
        case "timeseries":
            legend = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
            panel["options"] = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
            defaults["custom"] = {
                "fillOpacity": 30 if stack else 5,
                "showPoints": "never",
                "stacking": {"mode": "normal" if stack else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if limits else "off"},
            }
        case "table":
            for target in targets:
                target |= {"format": "table", "instant": True}
            hidden = ("Time", "__name__", "job", *(f"Value #{target['refId']}" for target in targets))
            panel["transformations"] = [
                {"id": "merge", "options": {}},
                {"id": "organize", "options": {"excludeByName": dict.fromkeys(hidden, True)}},
            ]
        case _:  # stat, bargauge
            orientation = "horizontal" if kind == "bargauge" else "auto"
            panel["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "orientation": orientation}
    return panel | {"fieldConfig": {"defaults": defaults, "overrides": overrides}}


def _thresholds(limits: list[float]) -> dict[str, Any]:
    """Build the coloured ranges of a panel: green up to the first limit, red from the last."""
    colours = ("green", "red") if len(limits) < 2 else ("green", "yellow", "red")
    values = (None, *limits)
    steps = [{"color": colour, "value": value} for colour, value in zip(colours, values, strict=False)]
    return {"mode": "absolute", "steps": steps}


if __name__ == "__main__":
    OUTPUT.write_text(json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n")

"""Grafana can show what it is given: of what it cannot, it leaves a panel empty without a word."""

from __future__ import annotations

import json
import runpy
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

GRAFANA = Path(__file__).parents[2] / "docker" / "grafana"
PROVISIONING = GRAFANA / "provisioning"
DASHBOARD: dict[str, Any] = json.loads((PROVISIONING / "dashboards" / "ziggurat.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]


def test_the_dashboard_is_the_one_that_its_source_makes() -> None:
    assert runpy.run_path(str(GRAFANA / "dashboard.py"))["dashboard"]() == DASHBOARD, "make dashboard"


def test_the_dashboard_is_found_where_its_provider_looks() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "ziggurat.yaml").read_text())["providers"]
    mounted = Path("/etc/grafana/provisioning")
    assert list((PROVISIONING / Path(provider["options"]["path"]).relative_to(mounted)).glob("*.json"))
    assert DASHBOARD["uid"]
    assert "id" not in DASHBOARD, "a number that another Grafana gave"
    assert DASHBOARD["schemaVersion"] >= 36, "data sources by uid"


def test_every_query_goes_to_the_data_source_provisioned() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    asking = [
        *SHOWN,
        *DASHBOARD["annotations"]["list"],
        *(target for panel in SHOWN for target in panel["targets"]),
    ]
    asked = {(asker["datasource"]["type"], asker["datasource"]["uid"]) for asker in asking}
    assert asked == {(source["type"], source["uid"])}


def test_rates_look_back_as_far_as_scrapes_are_apart() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    prometheus = yaml.safe_load((GRAFANA.parent / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    for panel in SHOWN:
        for target in panel["targets"]:
            assert target["expr"].count("[") == target["expr"].count("[$__rate_interval]"), panel["title"]


def test_panels_have_places_of_their_own() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["h"] > 0 < place["w"], panel["title"]
        assert 0 <= place["x"] <= 24 - place["w"], panel["title"]
    for first, second in combinations(PANELS, 2):
        assert not _overlap(first["gridPos"], second["gridPos"]), f"{first['title']} and {second['title']}"


def _overlap(first: dict[str, int], second: dict[str, int]) -> bool:
    return all(
        first[at] < second[at] + second[size] and second[at] < first[at] + first[size]
        for at, size in (("x", "w"), ("y", "h"))
    )


@pytest.mark.parametrize("panel", [pytest.param(panel, id=panel["title"]) for panel in SHOWN])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["type"] in {"timeseries", "stat", "bargauge", "table"}
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in {
        "s",
        "bytes",
        "Bps",
        "reqps",
        "ops",
        "percentunit",
        "short",
    }
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
    names = {target["legendFormat"] for target in panel["targets"]}
    thresholds = [panel["fieldConfig"]["defaults"]["thresholds"]]
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in names
        thresholds += [part["value"] for part in override["properties"]]
    for limits in ([step["value"] for step in ranges["steps"]] for ranges in thresholds):
        assert limits[0] is None, "the colour of everything below the first limit"
        assert limits[1:] == sorted(limits[1:])

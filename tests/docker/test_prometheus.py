"""Rules ask for metrics that exist, say what to do, and fire in time; panels are complete."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics import Metrics

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "docker" / "prometheus"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads(
    (ROOT / "docker" / "grafana" / "provisioning" / "dashboards" / "ziggurat.json").read_text()
)
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric, the names of its samples, and its own labels."""

    name: str
    kind: str
    samples: set[str]
    labels: set[str]


def _families() -> Iterator[Family]:
    """Every metric that a running service may show."""
    metrics = Metrics()
    metrics.initialise([("/compress", "POST", 201)], ["overloaded"])
    metrics.model_loaded("psnr", "00000000", "cpu")
    metrics.watch_device("cpu", up=lambda: True, heartbeat_age=lambda: 0.0)
    metrics.watch_store(stored_bytes=lambda: 0, stored_objects=lambda: 0, max_bytes=1)
    for metric in metrics.registry.collect():
        labels = set[str]().union(*(sample.labels for sample in metric.samples)) - {"le"}
        yield Family(
            metric.name + ("_total" if metric.type == "counter" else ""),
            metric.type,
            {sample.name for sample in metric.samples},
            labels,
        )


FAMILIES = list(_families())
FROM_PROMETHEUS = {"le", "instance", "job", "alertname", "alertstate"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...], installed: Callable[[str], str]) -> None:
    done = subprocess.run(
        [installed("promtool"), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    cases = [
        (case["alertname"], bool(case.get("exp_alerts")))
        for test in tests
        for case in test["alert_rule_test"]
    ]
    assert set(cases) == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in RULES])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["for"]
    assert rule["annotations"]["summary"]
    page, _, heading = rule["annotations"]["runbook"].partition("#")
    assert heading == rule["alert"].lower()
    assert f"\n### {rule['alert']}\n" in (ROOT / page).read_text()


def test_queries_name_metrics_and_labels_that_exist() -> None:
    metrics = {sample: family for family in FAMILIES for sample in family.samples}
    for query in [*QUERIES, *(rule["expr"] for rule in RULES)]:
        named = set(re.findall(r"\b(?:ziggurat|process)_\w+", query))
        assert named <= set(metrics), query
        asked = re.findall(r"by \(([^)]*)\)", query) + re.findall(r"[{,]\s*(\w+)\s*(?:=|!)", query)
        known = FROM_PROMETHEUS.union(*(metrics[name].labels for name in named))
        assert {label.strip() for group in asked for label in group.split(",")} <= known, query


def test_every_metric_is_on_the_dashboard() -> None:
    asked = set(re.findall(r"\bziggurat_\w+", " ".join(QUERIES)))
    assert [
        family.name
        for family in FAMILIES
        if family.name.startswith("ziggurat_") and not family.samples & asked
    ] == []


def test_the_documentation_lists_every_metric_with_its_labels() -> None:
    rows = re.findall(
        r"^\| `(ziggurat_\w+)` \| (\w+) \|([^|]*)\|",
        (ROOT / "docs/operating/metrics.md").read_text(),
        re.MULTILINE,
    )
    listed = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert listed == {
        family.name: (family.kind, family.labels)
        for family in FAMILIES
        if family.name.startswith("ziggurat_")
    }

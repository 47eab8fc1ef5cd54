"""The reference is complete and true: settings, endpoints, problems, metrics, dependencies."""

from __future__ import annotations

import re
import runpy
import tomllib
from itertools import chain
from typing import Any

import pytest
from packaging.requirements import Requirement

from service.app import create_app
from service.http import problems
from service.settings import Settings
from tests.docker.test_prometheus import FAMILIES
from tests.docs.pages import DOCS, PAGES, ROOT, Page

HTTP = Page(DOCS / "http.md")
SETTINGS = Page(DOCS / "settings.md")
OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    (method.upper(), path): operation
    for path, operations in create_app(Settings()).openapi()["paths"].items()
    for method, operation in operations.items()
}
HEADINGS = {
    (method, path): f"### {methods} {path}"
    for methods, path in re.findall(r"^### ([A-Z, ]+) (/\S*)$", HTTP.text, re.MULTILINE)
    for method in methods.split(", ")
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)


def test_the_table_of_settings_is_current() -> None:
    make = runpy.run_path(str(DOCS / "generate_settings.py"))["page"]
    written = SETTINGS.path.read_text()
    assert make(written) == written, ".venv/bin/python docs/generate_settings.py"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described_with_its_default(name: str) -> None:
    row = next(
        (line for line in SETTINGS.text.splitlines() if line.startswith(f"| `ZIGGURAT_{name.upper()}` |")), ""
    )
    field = Settings.model_fields[name]
    default = field.default
    shown = (
        "unset"
        if field.default_factory or default in (None, ())
        else f"`{','.join(default) if isinstance(default, tuple) else default}`"
    )
    assert shown in row


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_setting_is_named_that_does_not_exist(page: Page) -> None:
    of_the_client = {"url", "api_key"}
    named = {name.lower() for name in re.findall(r"\bZIGGURAT_([A-Z][A-Z_]+)", page.text)}
    assert named <= {*Settings.model_fields, *of_the_client}


def test_the_endpoints_described_are_the_endpoints_there_are() -> None:
    assert set(HEADINGS) == set(OPERATIONS)


@every_operation
def test_every_parameter_and_header_is_described(operation: tuple[str, str]) -> None:
    described = {code.lower() for code in re.findall(r"`([^`\n]+)`", HTTP.section(HEADINGS[operation]))}
    found = OPERATIONS[operation]
    assert {parameter["name"].lower() for parameter in found.get("parameters", ())} <= described
    answered = (response for status, response in found["responses"].items() if status < "300")
    assert {header.lower() for response in answered for header in response.get("headers", ())} <= described


@pytest.mark.parametrize("heading", sorted(set(HEADINGS.values())))
def test_every_parameter_described_exists(heading: str) -> None:
    known = {
        parameter["name"].lower()
        for operation in _under(heading)
        for parameter in operation.get("parameters", ())
    }
    table = re.search(r"^\| parameter \|.*?\n\n", HTTP.section(heading), re.DOTALL | re.MULTILINE)
    shown = re.findall(r"^\| `([\w-]+)`", table[0], re.MULTILINE) if table else []
    assert {name.lower() for name in shown} <= known


@pytest.mark.parametrize("heading", sorted(set(HEADINGS.values())))
def test_the_statuses_described_are_the_statuses_there_are(heading: str) -> None:
    shared = set(re.findall(r"`(\d{3})`", HTTP.section("## What all endpoints share")))
    section = HTTP.section(heading)
    statuses = {status for operation in _under(heading) for status in operation["responses"]}
    assert statuses <= shared | set(re.findall(r"`(\d{3})`", section))
    assert set(re.findall(r"^\| `(\d{3})` \|", section, re.MULTILINE)) <= statuses


def test_the_problem_types_described_are_those_there_are() -> None:
    section = HTTP.section("## Problem types")
    assert sorted(re.findall(r"^### (.*)$", section, re.MULTILINE)) == sorted(problems.reasons())
    assert set(problems.reasons()) <= HTTP.anchors()


@pytest.mark.parametrize("kind", problems._KINDS.values(), ids=lambda kind: kind.slug)
def test_a_problem_type_is_described_with_its_status(kind: problems._Kind) -> None:
    assert HTTP.section(f"### {kind.slug}").strip().startswith(f"{kind.status}. ")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_metric_is_named_that_does_not_exist(page: Page) -> None:
    known = set[str]().union(*(family.samples | {family.name} for family in FAMILIES))
    assert set(re.findall(r"\bziggurat_\w+", page.text)) <= known


def test_every_dependency_is_explained() -> None:
    rows = re.findall(
        r"^\| ([a-z0-9, -]+) \|", Page(DOCS / "design.md").section("## Dependencies"), re.MULTILINE
    )
    assert {name for row in rows for name in row.split(", ")} - {"package"} == _dependencies()


def test_every_dependency_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    assert {
        name.lower().replace("_", "-") for name in re.findall(r"^(\S+)==", pins, re.MULTILINE)
    } >= _dependencies()


def _under(heading: str) -> list[dict[str, Any]]:
    return [OPERATIONS[operation] for operation, found in HEADINGS.items() if found == heading]


def _dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = chain(project["dependencies"], *project["optional-dependencies"].values())
    return {Requirement(requirement).name for requirement in requirements}

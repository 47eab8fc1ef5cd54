from __future__ import annotations

import tomllib
from pathlib import Path

import ziggurat
from ziggurat.version import VERSION

ROOT = Path(__file__).parents[3]


def test_it_is_that_of_the_service() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION == ziggurat.__version__

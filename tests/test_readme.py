"""The README tells the truth about commands, settings, files and dependencies."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from PIL import Image

from service.cli import app, main
from service.settings import Settings

ROOT = Path(__file__).parents[1]
README = re.sub(r"<!--.*?-->", "", (ROOT / "README.md").read_text(), flags=re.DOTALL)
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described_with_its_default(name: str) -> None:
    row = next((line for line in README.splitlines() if line.startswith(f"| `ZIGGURAT_{name.upper()}` |")), "")
    default = Settings.model_fields[name].default
    shown = "unset" if default in (None, ()) else f"`{','.join(default) if isinstance(default, tuple) else default}`"
    assert shown in row


def test_no_setting_is_described_that_does_not_exist() -> None:
    assert {name.lower() for name in re.findall(r"`ZIGGURAT_([A-Z_]+)`", README)} == set(Settings.model_fields)


def test_the_commands_shown_are_the_commands_there_are() -> None:
    assert set(re.findall(r"^\$ ziggurat (\w+)", README, re.MULTILINE)) == COMMANDS


def test_the_options_shown_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command, shown in re.findall(r"^\$ ziggurat (\w+)([^#\n]*)", README, re.MULTILINE):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert set(re.findall(r"(?<= )--?[a-z-]+", shown)) <= set(re.findall(r"--?[a-z-]+", capsys.readouterr().out)), command


def test_the_python_example_runs(photo: Image.Image) -> None:
    example = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert example
    names: dict[str, Any] = {"image": photo}
    exec(example[1], names)
    assert names["image"].size == photo.size


def test_the_make_targets_shown_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make (\w+)", README)) - {"it"} <= targets


def test_the_files_shown_exist() -> None:
    for path in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / path).exists(), path


def test_every_dependency_is_explained() -> None:
    explained = {name for row in re.findall(r"^\| ([a-z0-9, -]+) \|", README, re.MULTILINE) for name in row.split(", ")}
    assert explained >= _dependencies()


def test_every_dependency_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text()
    assert {name.lower().replace("_", "-") for name in re.findall(r"^(\S+)==", pins, re.MULTILINE)} >= _dependencies()


def _dependencies() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = chain(project["dependencies"], *project["optional-dependencies"].values())
    return {Requirement(requirement).name for requirement in requirements}

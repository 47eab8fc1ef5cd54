"""The package that users install: what is in it, and what it says of itself."""

from __future__ import annotations

import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RELEASE = re.compile(r"^## \[?(\d+\.\d+\.\d+)\]? - (\d{4}-\d\d-\d\d)$", re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy: building leaves files beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for package in ("models", "service"):
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "results")
        )
    program = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    output = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-c", program, str(output)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout
    return output / built.splitlines()[-1]


def test_the_wheel_holds_everything_that_the_packages_read(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {"models/py.typed", "service/py.typed"}
    for pattern in (
        "models/weights/**/*.safetensors",
        "models/weights/**/*.json",
        "models/evaluation/*.json",
        "service/web/**/*.*",
    ):
        found = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
        assert found, pattern
        expected |= found
    for package in ("models", "service"):
        expected |= {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
    assert expected <= packed
    assert not {name for name in packed if name.startswith("tests")}


def test_an_installed_wheel_loads_its_weights(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = """
import service
from models import Codec
from models.weights import registry
assert __import__("sys").path[0] in registry.__file__, registry.__file__
for name in registry.available():
    print(Codec.load(name).model_id)
print(service.__version__)
"""
    (tmp_path / "program.py").write_text(program)
    command = [
        sys.executable,
        "-P",
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import program",
    ]
    answered = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert answered[-1] == PROJECT["version"]
    assert len(answered) == 1 + len(list((ROOT / "models/weights").glob("*.safetensors")))


def test_the_version_is_the_newest_release_of_the_changelog_and_the_one_to_cite() -> None:
    releases = RELEASE.findall((ROOT / "CHANGELOG.md").read_text())
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    newest, date = releases[0]
    assert PROJECT["version"] == newest == cited["version"]
    assert date == str(cited["date-released"])
    assert [version for version, _ in releases] == sorted({version for version, _ in releases}, reverse=True)


def test_the_newest_minor_version_is_the_one_that_gets_fixes() -> None:
    minor = ".".join(PROJECT["version"].split(".")[:2])
    assert f"| {minor}.x" in (ROOT / "SECURITY.md").read_text()


def test_the_names_that_releases_send_their_users_to_exist() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    rows = [line.split("|")[2] for line in lines if line.startswith("| `")]
    assert rows
    names = {name for row in rows for name in re.findall(r"`((?:models|service)[\w.]*)`", row)}
    assert len(names) >= len(rows) // 2
    for name in sorted(names):
        pkgutil.resolve_name(name)

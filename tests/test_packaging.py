"""The package that users install: what is in it, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
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
    for name in ("pyproject.toml", "README.md", "LICENSE", "sbom.py"):
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
    assert f"The wheel has {wheel.stat().st_size / 1e6:.0f} MB" in (ROOT / "README.md").read_text()


def test_it_has_a_bill_of_materials(wheel: Path) -> None:
    """With every file of weights, by its hash."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if ".dist-info/sboms/" in name)
        bill = json.loads(archive.read(name))
        digests = {part["bom-ref"]: part["hashes"][0]["content"] for part in bill["components"]}
        assert digests == {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if name.endswith(".safetensors")
        }
    assert bill["metadata"]["component"]["version"] == PROJECT["version"]


def test_an_installed_wheel_works_outside_of_the_repository(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, which has what the wheel needs from the one of the tests."""
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(environment / "bin" / "python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--no-compile", wheel], check=True)
    # By its path alone: what makes the repository importable there lies in files that are not read.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))
    shutil.copy(ROOT / "tests/fixtures/photo.jpg", tmp_path)
    isolated = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            [environment / "bin" / command[0], *command[1:]],
            cwd=tmp_path,
            env=isolated,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    assert run("ziggurat", "--version") == f"ziggurat {PROJECT['version']}\n"
    run("ziggurat", "compress", "photo.jpg", "--bpp", "0.5")
    assert "256\nheight" in run("ziggurat", "info", "photo.zgt")
    where = "import models, service; print(models.__file__, service.__file__)"
    assert [Path(file).parents[1] for file in run("python", "-c", where).split()] == [site, site]


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

"""The wheel, in an environment that has httpx2 and Pillow and nothing else of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

USE = """
import asyncio, importlib.metadata, sys
import ziggurat, ziggurat.pillow
from PIL import Image

with ziggurat.Client() as client:
    compressed = client.compress("photo.jpg", max_bytes=800, report="psnr")
    assert compressed.bytes <= 800 and compressed.psnr > 15
    compressed.save("photo.zgt")


async def picture():
    async with ziggurat.AsyncClient() as client:
        return (await client.decompress("photo.zgt")).image()


with Image.open("photo.zgt") as image:
    assert (image.size, image.mode) == ((128, 96), "RGB")
    assert image.tobytes() == asyncio.run(picture()).tobytes()
    image.save("again.zgt", bpp=0.3)
assert not {"models", "service", "torch", "numpy"} & set(sys.modules)
print(ziggurat.__file__, importlib.metadata.version("ziggurat-client"))
"""


def needed(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """A distribution and all that it needs here."""
    if name not in found:
        found[name] = distribution(name)
        for line in found[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(requirement.name, found)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from a copy: building leaves files beside the sources."""
    source = tmp_path_factory.mktemp("source") / "client"
    shutil.copytree(ROOT / "client", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    program = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    output = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-c", program, str(output)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout
    return output / built.splitlines()[-1]


def test_the_wheel_has_the_package_its_types_and_its_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"ziggurat", "ziggurat_client"}
    assert "ziggurat/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name for name in names if name.startswith("ziggurat/")} == {
        f"ziggurat/{path.name}" for path in (ROOT / "client" / "ziggurat").glob("*.*")
    }
    assert not any("entry_points" in name for name in names)  # `ziggurat` is the service's command
    assert wheel.stat().st_size < 100_000


def test_it_works_with_httpx2_and_pillow_alone(
    wheel: Path, service: str, folder: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # all that pip does with one of pure Python
    found: dict[str, Distribution] = {}
    for name in ("httpx2", "pillow"):
        needed(name, found)
    for one in found.values():  # as they are installed here, and no index is asked
        for top in {file.parts[0] for file in one.files or () if file.parts[0] != ".."}:
            target = site / top
            if not target.exists():
                target.symlink_to(str(one.locate_file(top)))
    for photo in folder.iterdir():
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    done = subprocess.run(
        [python, "-I", "-W", "error", "-c", USE],
        cwd=tmp_path,
        env={"ZIGGURAT_URL": service, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert (tmp_path / "again.zgt").is_file()

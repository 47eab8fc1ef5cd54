"""The image's locks: every requirement has a hash, and they agree with the project."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
# Not imported: `docker` is the name of an installed package too.
_LOCK = runpy.run_path(str(DOCKER / "lock.py"))
HEADER: str = _LOCK["HEADER"]
locks: Callable[[str, str], dict[str, str]] = _LOCK["locks"]
LOCKS = {
    name: (DOCKER / name).read_text() for name in ("requirements.lock", "torch-cpu.lock", "torch-cuda.lock")
}
ENTRY = re.compile(r"([a-z0-9.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
CUDA = ("cuda-", "nvidia-", "triton")


def versions(lock: str) -> dict[str, str]:
    return {name: version for name, version, _ in ENTRY.findall(lock)}


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_exact_versions_with_hashes_and_nothing_else(name: str) -> None:
    lock = LOCKS[name].removeprefix(HEADER)

    assert ENTRY.sub("", lock) == "", "no address of an index, no marker, no requirement without a hash"
    assert lock.count("\n    --hash") >= len(versions(lock)) > 0


@pytest.mark.parametrize("name", LOCKS)
def test_the_versions_are_those_that_the_tests_run_with(name: str) -> None:
    locked = versions(LOCKS[name])
    ours = {package: version for package, version in locked.items() if not package.startswith(CUDA)}

    assert ours == {package: PINS[package] for package in ours}
    assert len(ours) == len(locked) or name == "torch-cuda.lock"


def test_the_locks_cover_what_the_project_requires() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {name_of(requirement) for requirement in project["project"]["dependencies"]}
    needed |= {name_of(requirement) for requirement in project["build-system"]["requires"]}

    for torch in ("torch-cpu.lock", "torch-cuda.lock"):
        assert needed <= versions(LOCKS["requirements.lock"]).keys() | versions(LOCKS[torch]).keys()


def test_no_pytorch_has_cuda_where_none_is_wanted() -> None:
    """pip prefers files whose hash it knows: of PyPI's none may be among them."""
    cpu, cuda = (re.findall(r"sha256:(\w+)", LOCKS[f"torch-{kind}.lock"]) for kind in ("cpu", "cuda"))
    builds = (DOCKER / "torch-builds.txt").read_text()

    assert set(cpu) == set(re.findall(r"^(\w{64})  torch-\S+\+cpu-", builds, re.MULTILINE))
    assert not set(cpu) & set(cuda)
    assert {"triton", "torch"} <= versions(LOCKS["torch-cuda.lock"]).keys()


def test_locks_are_made_of_what_uv_writes_and_of_pytorchs_builds() -> None:
    """Two lines of each, as they are."""
    a, b, c, d = (letter * 64 for letter in "abcd")
    resolved = (
        f"nvidia-nvtx==13.0 \\\n    --hash=sha256:{a}\n"
        f"numpy==2.4.6 \\\n    --hash=sha256:{b} \\\n    --hash=sha256:{c}\n"
        f"torch==2.13.0 \\\n    --hash=sha256:{d}\n"
    )
    builds = f"# why\n{a}  torch-2.13.0+cpu-cp311.whl\n{b}  torch-2.13.0+cu130-cp311.whl\n"

    assert locks(resolved, builds) == {
        "requirements.lock": f"{HEADER}numpy==2.4.6 \\\n    --hash=sha256:{b} \\\n    --hash=sha256:{c}\n",
        "torch-cpu.lock": f"{HEADER}torch==2.13.0 \\\n    --hash=sha256:{a}\n",
        "torch-cuda.lock": f"{HEADER}nvidia-nvtx==13.0 \\\n    --hash=sha256:{a}\n"
        f"torch==2.13.0 \\\n    --hash=sha256:{d} \\\n    --hash=sha256:{b}\n",
    }
    with pytest.raises(ValueError, match="renew"):
        locks(resolved, builds.replace("2.13.0", "2.12.0"))

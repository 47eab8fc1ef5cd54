"""Cores and memory as containers limit them, and versions against what is required."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service import machine


def container(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A file system with control groups."""
    for name, content in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def test_versions_are_those_installed() -> None:
    found = machine.versions()
    assert found["torch"]
    assert found["python"]
    assert machine.unmet_requirements() == []


@pytest.mark.parametrize(
    ("installed", "bound", "lowest", "meets"),
    [
        ("2.13.0+cpu", ">=2.11", "2.11", True),
        ("2.9.1", ">=2.11", "2.11", False),
        ("0.5.3", "~=0.5.0", "0.5.0", True),
        ("0.6.0", "~=0.5.0", "0.5.0", False),
        ("1", None, None, True),
        (None, None, None, False),
    ],
)
def test_a_version_meets_a_requirement_or_not(
    installed: str | None, bound: str | None, lowest: str | None, meets: bool
) -> None:
    assert machine._meets(installed, bound, lowest) == meets


def test_the_smallest_limit_around_a_process_counts(tmp_path: Path) -> None:
    second = container(
        tmp_path / "second",
        "0::/a/b",
        {
            "sys/fs/cgroup/a/memory.max": "1000000",
            "sys/fs/cgroup/a/b/memory.max": "max",
            "sys/fs/cgroup/a/b/cpu.max": "50000 100000",
            "sys/fs/cgroup/cpu.max": "max 100000",
        },
    )
    assert machine.memory(second) == 1_000_000
    assert machine.cores(second) == 0.5
    first = container(
        tmp_path / "first",
        "4:memory:/outside\n3:cpu,cpuacct:/outside\n0::/",
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert machine.memory(first) == 2_000_000
    assert machine.cores(first) == 0.25


def test_without_limits_it_is_the_machine_s(tmp_path: Path) -> None:
    assert (machine.memory(tmp_path) or 0) > 1 << 28
    assert machine.cores(tmp_path) >= 1


def test_cores_are_cut_into_parts_of_neighbours() -> None:
    assert machine.parts([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3, 4]]
    assert machine.parts([0, 1, 2, 3], 4) == [[0], [1], [2], [3]]


def test_threads_of_one_core_stay_together(tmp_path: Path) -> None:
    """Numbered as on most machines: the second threads of all cores after the first."""
    for cpu, core in enumerate((0, 1, 0, 1)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "core_id").write_text(f"{core}\n")
        (folder / "physical_package_id").write_text("0\n")
    assert sorted(range(4), key=lambda cpu: machine._place(cpu, tmp_path)) == [0, 2, 1, 3]


@pytest.mark.parametrize(("processes", "cores"), [(1, 3.0), (2, 1.5), (1000, 0.003)])
def test_a_share_is_of_the_affinity_and_of_the_quota(tmp_path: Path, processes: int, cores: float) -> None:
    """In a process of its own: a share is for life."""
    root = container(tmp_path, "0::/", {"sys/fs/cgroup/cpu.max": "300000 100000"})
    program = (
        "import os, pathlib; from service import machine; allowed = len(os.sched_getaffinity(0))\n"
        f"machine.take_share(0, {processes}); mine = len(os.sched_getaffinity(0))\n"
        f"print(allowed, mine, machine.cores(pathlib.Path({str(root)!r})), machine.whole_cores())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    allowed, mine, share, threads = map(float, done.stdout.split())
    assert mine == (allowed // processes if allowed >= processes else allowed)
    assert share == pytest.approx(min(allowed / processes if allowed < processes else mine, cores))
    assert threads == max(1, mine if allowed >= processes else 1)

"""Facts about the machine and the installation: versions, cores, and memory, as a container limits
them too.

Loads no torch.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

# Packages whose versions matter to what comes out, or that reports of faults are about.
PACKAGES = ("torch", "numpy", "constriction", "pillow", "safetensors", "obstore", "fastapi", "uvicorn")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[\w+\])?(?P<bound>[~>]=(?P<lowest>[\d.]+))?$")


def versions() -> dict[str, str | None]:
    """Versions of ours, of Python, of `PACKAGES` and of libavif; None of what is not installed."""
    import platform

    found: dict[str, str | None] = {"ziggurat": _version("ziggurat"), "python": platform.python_version()}
    found |= {name: _version(name) for name in PACKAGES}
    with suppress(ImportError):
        from PIL import features

        return found | {"libavif": features.version("avif")}
    return found | {"libavif": None}


def unmet_requirements() -> list[str]:
    """Requirements of ours, such as "torch>=2.11", that the installed packages do not meet."""
    from importlib.metadata import requires

    unmet = []
    for requirement in requires("ziggurat") or () if _version("ziggurat") else ():
        parsed = _REQUIREMENT.match(requirement)  # those of extras have a ";", and do not match
        if parsed and not _meets(_version(parsed["name"]), parsed["bound"], parsed["lowest"]):
            unmet.append(requirement)
    return unmet


def cores(root: Path = Path("/")) -> float:
    """CPU cores that this process may use: its share of its affinity and its container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota / period for quota, period in _quotas(root) if quota > 0 and period > 0]
    return min([allowed / _share.processes, *(quota / _share.quota_processes for quota in quotas)])


def whole_cores() -> int:
    """Number of threads that keep `cores` busy; at least 1."""
    return max(1, int(cores()))


def take_share(index: int, processes: int) -> None:
    """Keep this process to its share of the cores, for as long as it lives.

    Where there are enough, it has some to itself: no worker waits for another's threads.

    Args:
        index: of this process, from 0.
        processes: that share the cores of one container or machine.
    """
    global _share
    _share = _Share(processes, processes)
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0), key=_place)
        if len(allowed) >= processes:
            os.sched_setaffinity(0, parts(allowed, processes)[index])
            _share = _Share(1, processes)


def parts(cpus: Sequence[int], count: int) -> list[Sequence[int]]:
    """Cut a list into so many neighbouring parts, whose lengths differ by 1 at most."""
    edges = [len(cpus) * part // count for part in range(count + 1)]
    return [cpus[begin:end] for begin, end in pairwise(edges)]


class _Share(NamedTuple):
    """The share of this process.

    Attributes:
        processes: that have the same cores.
        quota_processes: that have the same quota.
    """

    processes: int
    quota_processes: int


_share = _Share(1, 1)


def _place(cpu: int, root: Path = Path("/")) -> tuple[int, int, int]:
    """Make a key that sorts threads of one core beside each other, and cores of one processor."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    try:
        package, core = (int((topology / name).read_text()) for name in ("physical_package_id", "core_id"))
    except (OSError, ValueError):
        return 0, 0, cpu
    return package, core, cpu


def memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process may use: the machine's, or what its container is limited
    to; None where the system does not tell.
    """
    limits = [
        int(text)
        for controller, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes"))
        for text in _cgroup_files(root, controller, name)
        if text.isdecimal()
    ]
    with suppress(OSError, ValueError, AttributeError):  # no such question on this system
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=None)


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """Microseconds of CPU time in every period of so many, for each group that limits them."""
    for text in _cgroup_files(root, "", "cpu.max"):
        with suppress(ValueError):  # "max 100000" is no limit
            quota, period = map(int, text.split())
            yield quota, period
    quotas = _cgroup_files(root, "cpu", "cpu.cfs_quota_us")
    periods = _cgroup_files(root, "cpu", "cpu.cfs_period_us")
    for pair in zip(quotas, periods, strict=False):
        with suppress(ValueError):
            yield int(pair[0]), int(pair[1])


def _cgroup_files(root: Path, controller: str, name: str) -> Iterator[str]:
    """The content of one file of this process's control group and of those around it.

    Args:
        root: of the file system.
        controller: of version 1; empty for version 2.
        name: of the file.
    """
    mounted = root / "sys/fs/cgroup" / controller
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            if controller not in controllers.split(","):
                continue
            inside = Path(place.lstrip("/"))
            # In a container of its own the group is the root of what is mounted, whatever it is
            # called outside.
            for group in (mounted / inside, *(mounted / above for above in inside.parents)):
                with suppress(OSError):
                    yield (group / name).read_text().strip()


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # slow, and seldom needed

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _meets(installed: str | None, bound: str | None, lowest: str | None) -> bool:
    """Tell whether a version is there, and at least `lowest`; for "~=", of the same series."""
    if installed is None or lowest is None or bound is None:
        return installed is not None
    have, need = ([int(number) for number in re.findall(r"\d+", text)] for text in (installed, lowest))
    series = len(need) - 1
    return have[: len(need)] >= need and (not bound.startswith("~") or have[:series] == need[:series])


def in_gigabytes(size: float) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.1f} GB" if math.isfinite(size) else "no limit"

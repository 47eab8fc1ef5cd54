"""Write what the image installs: `.venv/bin/python docker/lock.py`, with uv on the PATH.

Each lock has exact versions, with the hashes of all files of that version, for every platform and
Python. The versions are those of constraints.txt.

- `requirements.lock` has everything but PyTorch. Its hashes are PyPI's.
- `torch-cpu.lock` has PyTorch without CUDA, which is not on PyPI. Its hashes are those of
  `torch-builds.txt`, and no others: pip prefers a file whose hash it knows, and would take PyPI's.
- `torch-cuda.lock` has PyTorch with CUDA, from PyPI or PyTorch's index, and CUDA's libraries.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
HEADER = "# Written by docker/lock.py.\n"
_CUDA = re.compile(r"cuda-|nvidia-|triton\b")
_ENTRY = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+).*\n(?: +--hash=.*\n)+", re.MULTILINE)


def locks(resolved: str, torch_builds: str) -> dict[str, str]:
    """Make the locks; return the text of each by its name.

    Args:
        resolved: requirements with hashes, as uv writes them.
        torch_builds: lines of `sha256  file`, PyTorch's own builds.

    Raises:
        ValueError: the builds are of another version of PyTorch.
    """
    plain, cpu, cuda = [HEADER], [HEADER], [HEADER]
    for entry in _ENTRY.finditer(resolved):
        if entry["name"] == "torch":
            version = entry["version"]
            cpu.append(f"torch=={version}" + _hashes(torch_builds, f"torch-{version}+cpu-"))
            cuda.append(entry[0].rstrip() + _hashes(torch_builds, f"torch-{version}+cu1"))
        else:
            (cuda if _CUDA.match(entry["name"]) else plain).append(entry[0])
    texts = {"requirements.lock": plain, "torch-cpu.lock": cpu, "torch-cuda.lock": cuda}
    return {name: "".join(text) for name, text in texts.items()}


def _hashes(torch_builds: str, prefix: str) -> str:
    """Write the hashes of the builds whose files begin with `prefix` as the end of an entry."""
    builds = [line.split() for line in torch_builds.splitlines() if not line.startswith("#")]
    digests = [digest for digest, file in builds if file.startswith(prefix)]
    if not digests:
        raise ValueError(f"docker/torch-builds.txt has no {prefix}: renew it as it says")
    return "".join(f" \\\n    --hash=sha256:{digest}" for digest in digests) + "\n"


def resolve() -> str:
    """Ask PyPI for the image's requirements, on Linux and Python 3.11."""
    command = (
        "uv --no-config pip compile pyproject.toml --constraint constraints.txt --generate-hashes "
        "--python-version 3.11 --python-platform x86_64-manylinux_2_28 --only-binary :all: "
        "--default-index https://pypi.org/simple --no-header --no-annotate --quiet"
    )
    done = subprocess.run(command.split(), cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    for name, text in locks(resolve(), (FOLDER / "torch-builds.txt").read_text()).items():
        (FOLDER / name).write_text(text)

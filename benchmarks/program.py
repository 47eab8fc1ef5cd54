"""Program: what every benchmark has in common: its options, its pictures, its JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import features

# Of the formats that the service reads, those that folders of photographs have.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif"})


def parser(description: str | None, output: str) -> argparse.ArgumentParser:
    """Make a parser that shows a module's docstring, with --output for the JSON."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--output", type=Path, default=Path(output), help="where the JSON goes")
    return made


def add_folder(to: argparse.ArgumentParser, *, every: bool = False) -> None:
    """Add the folder of pictures; with `every`, also the option to take only some of them."""
    to.add_argument("folder", type=Path, help="of pictures")
    if every:
        to.add_argument("--every", type=int, default=1, help="use every n-th picture")


def files_of(folder: Path) -> list[Path]:
    """List a folder's picture files that a service can be sent, by name.

    Raises:
        SystemExit: there is none.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"no pictures in {folder}")
    return paths


def write(path: Path, facts: Mapping[str, object]) -> None:
    """Write facts as JSON, with what they were measured by."""
    path.write_text(json.dumps({**facts, "environment": environment()}, indent=1) + "\n")


def environment() -> dict[str, object]:
    """Name the versions and the machine that figures depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pillow": version("pillow"),
        "libavif": features.version("avif"),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }

"""The fuzz targets: what they start from, and what they once found, passes.

Each in a process of its own, as one changes the registry.
"""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("target", "outcomes"),
    [
        ("container", {"decoded"}),
        ("endpoints", {"POST 200", "POST 201"}),
        ("images", {"decoded: JPEG", "decoded: PNG"}),
    ],
)
def test_seeds_and_earlier_findings_pass(target: str, outcomes: set[str]) -> None:
    """Some get as far as they can: a target that refuses everything at its door finds nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--minutes", "0"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert outcomes <= set(done.stdout.splitlines())

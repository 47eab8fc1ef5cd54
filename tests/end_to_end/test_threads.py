"""Threads of the libraries in C: few, and they wait without a core, whatever is not set."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

VARIABLES = ("OMP_", "GOMP_", "OPENBLAS_", "MKL_", "ZIGGURAT_")
# A product that OpenBLAS shares among its threads where it has several.
THREADS = """
import os, sys
import service.engine.entropy_worker
import numpy
assert "torch" not in sys.modules
numpy.ones((512, 512)) @ numpy.ones((512, 512))
print(len(os.listdir("/proc/self/task")))
"""


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with no variable that is for threads but those given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=True, timeout=120
    )


@pytest.mark.parametrize("code", ["import service.app", "from models import Codec"])
def test_torch_waits_without_keeping_its_cores(code: str) -> None:
    # libgomp writes what it has read.
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in run(code, OMP_DISPLAY_ENV="TRUE").stderr


def test_who_sets_the_variables_is_obeyed() -> None:
    told = run("import service.app", OMP_DISPLAY_ENV="TRUE", OMP_WAIT_POLICY="ACTIVE").stderr
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in told


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has one thread anyway")
def test_a_worker_multiplies_on_one_thread() -> None:
    assert run(THREADS).stdout == "1\n"
    assert int(run(THREADS, OPENBLAS_NUM_THREADS="2").stdout) > 1

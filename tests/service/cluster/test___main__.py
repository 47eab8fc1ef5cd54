"""The command that runs others with HAProxy on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cluster", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_a_command_has_the_variables() -> None:
    done = run("env", RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S="7")
    assert "RAY_SERVE_ENABLE_HA_PROXY=1\n" in done.stdout
    assert "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S=7\n" in done.stdout  # the operator's own stays


def test_programs_beside_the_interpreter_are_found_without_a_path() -> None:
    """Ray's are there."""
    done = run("python", "-c", "import sys; print(sys.executable)", PATH="/nowhere")
    assert done.stdout == f"{sys.executable}\n", done.stderr


def test_an_unknown_program_is_named() -> None:
    done = run("no-such-program")
    assert done.returncode == 1
    assert done.stderr == "no-such-program: no such program\n"

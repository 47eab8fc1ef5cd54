"""Children: processes on some of the machine's cores that answer lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

ON_CORES = """
import os, sys
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
os.execvp(sys.argv[2], sys.argv[2:])
"""
HALF_OPEN_SECONDS = 20.0  # that a child may take to end when its input does


def cores() -> list[int]:
    """Number the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pinned(command: Sequence[str], count: int) -> list[str]:
    """Make the command that runs another on the first `count` cores, as if there were no more.

    Libraries then make as many threads as on a machine of that size, no variable being set. Where
    processes cannot be bound to cores, OMP_NUM_THREADS has to do.
    """
    if hasattr(os, "sched_setaffinity"):
        chosen = ",".join(map(str, cores()[:count]))
        return [sys.executable, "-c", ON_CORES, chosen, *command]
    return ["env", f"OMP_NUM_THREADS={count}", *command]


class Child:
    """A process that answers every line of its input by a line of JSON; ended by the `with`.

    Args:
        command: that starts it.
        log: file that its errors are added to.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def ask(self, question: object = ()) -> Any:
        """Send a line of JSON and wait for the answer.

        Raises:
            RuntimeError: the child has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the next line tells
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a child ended: {self._log.read_text()[-2000:]}")
        return json.loads(line)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._process.communicate(timeout=HALF_OPEN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

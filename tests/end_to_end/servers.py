"""Real server processes for the tests of this folder: `ziggurat serve` and others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest


def free_address() -> str:
    """A free `host:port` of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Process:
    """A process that listens on `address`, and is ready when the path `ready` answers.

    As a context manager it is ready at the beginning and killed at the end.
    """

    def __init__(
        self, command: Sequence[str], address: str, *, ready: str, log: Path, **environment: str
    ) -> None:
        self.address = address
        self._ready = ready
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
            )

    def stop(self) -> int:
        """End it with SIGTERM; gives its exit code."""
        self.process.terminate()
        return self.process.wait(60)

    def __enter__(self) -> Self:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://{self.address}{self._ready}", timeout=5):
                    return self
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        self.__exit__()
        pytest.fail(f"the server did not start:\n{self._log.read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


class Server(Process):
    """`ziggurat serve` on a free port, with a store of its own.

    `settings` are environment variables, `prelude` is Python to run first.
    """

    def __init__(self, folder: Path, *, prelude: str = "", **settings: str) -> None:
        address = free_address()
        command = [
            sys.executable,
            "-c",
            f"{prelude}\nfrom service.cli import main; main()",
            "serve",
            "--port",
            address.rpartition(":")[2],
        ]
        settings = {"ZIGGURAT_STORE": str(folder / "store"), "ZIGGURAT_MAX_BODY_BYTES": "4000000"} | settings
        super().__init__(command, address, ready="/readyz", log=folder / "server.log", **settings)

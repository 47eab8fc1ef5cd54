"""A real server in a process of its own, seen from outside: health, metrics, memory, threads."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families

STARTUP_SECONDS = 300.0  # that loading the models may take
STOP_SECONDS = 150.0  # that finishing what was accepted may take
_SERVE = ("-c", "from service.cli import main; main()", "serve")
COMMAND = [sys.executable, *_SERVE]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resources that the server's processes hold together at one moment.

    Attributes:
        processes: number of them.
        rss: resident memory in bytes; shared pages count once for each process.
        descriptors: open ones.
        threads: number of them.
    """

    processes: int
    rss: int
    descriptors: int
    threads: int


class Server:
    """`ziggurat serve` on a free port of this machine; stopped at the end of the `with`.

    Args:
        log: file that its output is added to.
        command: that starts it.
        settings: of the service, without the prefix: `Server(log, store="memory://")`.
    """

    def __init__(
        self,
        log: Path,
        *,
        command: Sequence[str] = COMMAND,
        **settings: object,
    ) -> None:
        self.host, self.port = self._address()
        self.url = f"http://{self.host}:{self.port}"
        self._log = log
        self._command = command
        settings |= {"host": self.host, "port": self.port}
        self._environment = dict(os.environ)
        for name, setting in settings.items():
            self._environment[f"ZIGGURAT_{name.upper()}"] = str(setting)
        self.process = self._start()

    def _address(self) -> tuple[str, int]:
        """Find a free port of loopback."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            host, port = probe.getsockname()
            return host, port

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def restart(self) -> None:
        """Start it again, on the same port and store, after it has ended."""
        self.process.wait()
        self.process = self._start()

    async def ready(self) -> None:
        """Wait until /readyz is green.

        Raises:
            RuntimeError: the process ends or takes too long.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError):
                if await ask(self.host, self.port, "/readyz") == 200:
                    return
            await asyncio.sleep(0.2)
        raise RuntimeError(f"the server did not become ready; see {self._log}")

    async def metrics(self) -> Samples:
        """Read every sample of /metrics, by name and labels."""
        async with client() as http:
            text = (await http.get(f"{self.url}/metrics")).text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def workers(self) -> list[psutil.Process]:
        """List the processes that the server started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def footprint(self) -> Footprint:
        """Add up what the server and its workers hold now."""
        count = 0
        rss = 0
        descriptors = 0
        threads = 0
        for process in (psutil.Process(self.process.pid), *self.workers()):
            with suppress(psutil.NoSuchProcess), process.oneshot():
                rss += process.memory_info().rss
                descriptors += process.num_fds()
                threads += process.num_threads()
                count += 1
        return Footprint(count, rss, descriptors, threads)

    def kill(self) -> None:
        """Send SIGKILL to the server and its workers."""
        with suppress(psutil.NoSuchProcess):
            for process in (*self.workers(), psutil.Process(self.process.pid)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM, and SIGKILL after `seconds`; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    async def __aenter__(self) -> Server:
        try:
            await self.ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            await asyncio.to_thread(self.terminate)


def python_of(checkout: Path) -> list[str]:
    """Begin of a command line that imports `models` and `service` from a checkout."""
    # The first place that modules are looked for in; -P keeps the working directory out.
    return ["env", f"PYTHONPATH={checkout.resolve()}", sys.executable, "-P"]


def serve_from(checkout: Path) -> list[str]:
    """Make the command that serves from a checkout."""
    return [*python_of(checkout), *_SERVE]


def client() -> httpx2.AsyncClient:
    """Make a client that waits as long as it takes, and lets no limit of its own shape the load."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx2.AsyncClient(timeout=None, limits=limits, trust_env=False)


async def ask(host: str, port: int, path: str) -> int:
    """Get the status of one GET on a connection of its own, as an orchestrator's probe does."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(maxsplit=2)[1])


def value(samples: Samples, name: str, **labels: str) -> float:
    """Add up the samples of this name that have these labels."""
    return sum(
        number
        for (sample, own), number in samples.items()
        if sample == name and labels.items() <= dict(own).items()
    )

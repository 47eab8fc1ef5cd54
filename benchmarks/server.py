"""A real server in a process of its own, and what can be seen of it from outside: health, metrics, memory, descriptors, threads."""

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

STARTUP = 300.0  # seconds that loading the models may take
COMMAND = [sys.executable, "-c", "from service.cli import main; main()", "serve"]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the server's processes, all together, hold at one moment. `rss` counts shared pages once for each process."""

    processes: int
    rss: int
    descriptors: int
    threads: int


class Server:
    """`ziggurat serve` on a free port of this machine; stopped, or killed, at the end of the `with`.

    Settings are those of the service, without the prefix: `Server(log, store="memory://")`. What it logs goes to the file `log`.
    """

    def __init__(self, log: Path, *, command: Sequence[str] = COMMAND, **settings: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host, self.port = probe.getsockname()
        self.url = f"http://{self.host}:{self.port}"
        self._log, self._command = log, command
        self._environment = os.environ | {f"ZIGGURAT_{name.upper()}": str(value) for name, value in settings.items()}
        self._environment |= {"ZIGGURAT_HOST": self.host, "ZIGGURAT_PORT": str(self.port)}
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=subprocess.STDOUT)

    def restart(self) -> None:
        """Start it again, on the same port and store, after it has ended."""
        self.process.wait()
        self.process = self._start()

    async def ready(self) -> None:
        """Wait until /readyz says so; RuntimeError when the process ends or takes too long."""
        deadline = time.monotonic() + STARTUP
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError):
                if await ask(self.host, self.port, "/readyz") == 200:
                    return
            await asyncio.sleep(0.2)
        raise RuntimeError(f"the server did not become ready; see {self._log}")

    async def metrics(self) -> Samples:
        """Every sample of /metrics by name and labels."""
        async with client() as http:
            text = (await http.get(f"{self.url}/metrics")).text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def workers(self) -> list[psutil.Process]:
        """The processes that the server started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def footprint(self) -> Footprint:
        """Of the server and its workers, now."""
        rss = descriptors = threads = count = 0
        for process in (psutil.Process(self.process.pid), *self.workers()):
            with suppress(psutil.NoSuchProcess), process.oneshot():
                rss += process.memory_info().rss
                descriptors += process.num_fds()
                threads += process.num_threads()
                count += 1
        return Footprint(count, rss, descriptors, threads)

    def terminate(self, seconds: float = 150.0) -> int:
        """SIGTERM, and its exit code; SIGKILL after `seconds`."""
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

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            await asyncio.to_thread(self.terminate)


def client() -> httpx2.AsyncClient:
    """Waits for an answer as long as it takes, and lets no limit of its own shape the load."""
    return httpx2.AsyncClient(timeout=None, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100), trust_env=False)


async def ask(host: str, port: int, path: str) -> int:
    """The status of one GET on a connection of its own: what an orchestrator's probe sees, with next to no client around it."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(maxsplit=2)[1])


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of this name that have these labels."""
    return sum(number for (sample, own), number in samples.items() if sample == name and labels.items() <= dict(own).items())

"""A small data centre on this machine: a store, replicas, a balancer, and a network between them.

Where it may (as root, on Linux), each replica has a network namespace of its own, with one cable to
the machine that the balancer and the store are on; a cable can be pulled. Elsewhere all of them
have addresses of loopback.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.server import COMMAND, Server, ask

CONFIGURATION = Path(__file__).parents[1] / "docker" / "balancer" / "haproxy.cfg"
BUCKET = "streams"
PORT = 8000  # of every replica
_STORE_PORT = 18333
_BALANCER_PORT = 18080
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "rehearsal",
    "AWS_SECRET_ACCESS_KEY": "rehearsal",
    "AWS_REGION": "eu-central-1",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one replica runs.

    Attributes:
        address: its own.
        outside: address of the balancer and the store.
        namespace: name of its network namespace; None where it has none.
    """

    address: str
    outside: str
    namespace: str | None

    @property
    def command(self) -> list[str]:
        """Begin of a command line that runs there."""
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    @property
    def _cable(self) -> str:
        return f"{self.namespace}c"  # 15 characters at most

    def lay(self) -> None:
        """Make the namespace and its cable. Raises `CalledProcessError` where that may not be."""
        _ip("netns", "add", f"{self.namespace}")
        _ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", f"{self.namespace}")
        _ip("address", "add", f"{self.outside}/30", "dev", self._cable)
        _ip("link", "set", self._cable, "up")
        self._ip("address", "add", f"{self.address}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            self._ip("link", "set", device, "up")

    def pull_cable(self) -> None:
        """Let everything on its way there vanish, as when a machine is off.

        At the far end: without this one packets would find another way out.
        """
        self._ip("link", "set", "eth0", "down")

    def put_cable_back(self) -> None:
        """Connect it again."""
        self._ip("link", "set", "eth0", "up")

    def _ip(self, *words: str) -> None:
        _ip("-netns", f"{self.namespace}", *words)

    def clear_away(self) -> None:
        """Remove the namespace, and with it the cable."""
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", f"{self.namespace}")


@contextmanager
def network(replicas: int) -> Iterator[list[Place]]:
    """Make a place for each replica."""
    places = [
        Place(f"10.77.{number}.2", f"10.77.{number}.1", f"zgt{os.getpid() % 100_000}-{number}")
        for number in range(replicas)
    ]
    try:
        for place in places:
            place.lay()
    except (subprocess.CalledProcessError, FileNotFoundError):
        for place in places:
            place.clear_away()
        yield [Place(f"127.77.{number}.2", "127.0.0.1", None) for number in range(replicas)]
        return
    try:
        yield places
    finally:
        for place in places:
            place.clear_away()


@contextmanager
def store(log: Path) -> Iterator[None]:
    """Run an S3 server (moto) on every address of this machine, with one bucket."""
    command = [sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", str(_STORE_PORT)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                with suppress(OSError):
                    request = urllib.request.Request(f"http://127.0.0.1:{_STORE_PORT}/{BUCKET}", method="PUT")
                    with urllib.request.urlopen(request, timeout=10):
                        break
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError(f"the store did not start; see {log}")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()


class Replica(Server):
    """`ziggurat serve` at a place, on the store that all of them share."""

    def __init__(self, place: Place, log: Path, **settings: object) -> None:
        self.place = place
        environment = {
            **_CREDENTIALS,
            "AWS_ENDPOINT_URL": f"http://{place.outside}:{_STORE_PORT}",
            "AWS_ALLOW_HTTP": "true",
        }
        words = [f"{name}={text}" for name, text in environment.items()]
        super().__init__(
            log,
            command=["env", *words, *place.command, *COMMAND],
            store=f"s3://{BUCKET}",
            **settings,
        )

    def _address(self) -> tuple[str, int]:
        return self.place.address, PORT


def configuration(places: Sequence[Place], address: str) -> str:
    """Make HAProxy's configuration: as in docker/balancer, but for who is where.

    Raises:
        ValueError: that file has no such lines any more.
    """
    servers = "\n".join(
        f"    server replica{number} {place.address}:{PORT}" for number, place in enumerate(places)
    )
    text = CONFIGURATION.read_text()
    for pattern, made in {
        r"^ +bind .*$": f"    bind {address}",
        r"^ +server-template .*$": servers,
        r"^resolvers (.|\n)*": "",
    }.items():
        text, count = re.subn(pattern, made, text, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"{CONFIGURATION} has {count} times {pattern}")
    return text


class Balancer:
    """HAProxy with the configuration of docker/balancer, in front of these places."""

    def __init__(self, places: Sequence[Place], folder: Path, log: Path) -> None:
        self.host, self.port = "127.0.0.1", _BALANCER_PORT
        self.url = f"http://{self.host}:{self.port}"
        self._file = folder / "haproxy.cfg"
        self._file.write_text(configuration(places, f"{self.host}:{self.port}"))
        self._log = log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                ["haproxy", "-db", "-f", str(self._file)], stdout=log, stderr=subprocess.STDOUT
            )

    async def ready(self) -> None:
        """Wait until it has found a replica that is ready. Raises `RuntimeError`."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError, IndexError):
                if await ask(self.host, self.port, "/readyz") == 200:
                    return
            await asyncio.sleep(0.1)
        raise RuntimeError(f"the balancer did not become ready; see {self._log}")

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again on the same port."""
        self.process = self._start()


def served(log: Path) -> Mapping[str, int]:
    """Count the requests that each replica answered by HAProxy's log."""
    found: dict[str, int] = {}
    for name in re.findall(r" ziggurat/(replica\d+) ", log.read_text(errors="replace")):
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)

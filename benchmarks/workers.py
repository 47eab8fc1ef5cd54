"""Worker processes against device threads: `--workers N` against one process with all the cores.

    python -m benchmarks.workers kodak/ [--workers 2] [--output workers.json]

Both servers run at the same time, and have the same cores. Each turn sends the same requests to one
and then to the other, so that what else the machine does meets both; what counts is the ratio
within a turn. Photographs keep the device busy; of thumbnails most of the work is Python, of which
one process can do one thing at a time; answers from the store need no device at all.

Memory is what a server's processes hold of their own and their share of what they have in common
(PSS), after the same requests; beside it, that of N servers that were started by themselves. Prints
tables and writes JSON. The store is a directory; settings of the service come from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.program import add_folder, files_of, parser, write
from benchmarks.server import COMMAND, Server
from benchmarks.throughput import BPP, NO_LIMIT, THUMBNAIL, thumbnails

READS = 1500
WARM_UP = 4  # requests for each client, unmeasured


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one kind, sent by so many clients at a time.

    Attributes:
        name: for the table.
        method: of HTTP.
        requests: path and body of each.
        seconds: that each server took, by turns.
    """

    name: str
    method: str
    requests: Sequence[tuple[str, bytes]]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"one": [], "workers": []})

    @property
    def ratio(self) -> float:
        """Requests a second of the workers over those of one process: median over the turns."""
        pairs = zip(self.seconds["one"], self.seconds["workers"], strict=True)
        return statistics.median(one / workers for one, workers in pairs)

    def rate(self, server: str) -> float:
        """Requests a second, of the best turn."""
        return len(self.requests) / min(self.seconds[server])

    @property
    def facts(self) -> dict[str, object]:
        """Give what the JSON has of it."""
        return {
            "workload": self.name,
            "requests": len(self.requests),
            "one_per_second": self.rate("one"),
            "workers_per_second": self.rate("workers"),
            "ratio": self.ratio,
            "seconds": self.seconds,
        }


async def send(url: str, workload: Workload, clients: int) -> float:
    """Send all requests of a workload, each client on a connection that it keeps."""
    waiting = iter(workload.requests)

    async def work() -> None:
        async with httpx2.AsyncClient(base_url=url, timeout=None, trust_env=False) as http:
            for path, body in waiting:
                answer = await http.request(workload.method, path, content=body or None)
                answer.raise_for_status()

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return time.perf_counter() - begun


def memory(servers: Sequence[Server]) -> dict[str, int]:
    """Add up the PSS of servers in bytes: of their own processes, and with what these started."""
    whole = own = 0
    for server in servers:
        root = psutil.Process(server.process.pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                pss = int(process.memory_full_info().pss)
                whole += pss
                own += pss if " serve" in " ".join(process.cmdline()) else 0
    return {"processes": own, "with_helpers": whole}


async def stored(url: str, body: bytes) -> str:
    """Compress once; returns the id."""
    async with httpx2.AsyncClient(base_url=url, timeout=None, trust_env=False) as http:
        answer = await http.post(f"/compress?bpp={BPP}", content=body)
        answer.raise_for_status()
        return str(answer.headers["location"]).rpartition("/")[2]


class Runs:
    """Servers of one kind or another, and the requests that they get.

    Args:
        arguments: of the command line.
        files: pictures.
        folder: for the store.
    """

    def __init__(self, arguments: argparse.Namespace, files: Sequence[bytes], folder: Path) -> None:
        self._arguments = arguments
        self._folder = folder
        compress = f"/compress?bpp={BPP}"
        small = thumbnails(files, 8 * arguments.clients)
        self._compressions = [
            Workload("compress photographs", "POST", [(compress, body) for body in files]),
            Workload(f"compress {THUMBNAIL}x{THUMBNAIL}", "POST", [(compress, body) for body in small]),
        ]
        self._file = files[0]

    async def _started(self, stack: AsyncExitStack, name: str, **more: int) -> Server:
        server = Server(
            Path(f"{self._arguments.log}-{name}.log"),
            command=COMMAND,
            store=self._folder / "store",
            log_level="warning",
            max_queued_pixels=NO_LIMIT,
            **more,
        )
        return await stack.enter_async_context(server)

    async def _warm(self, server: Server) -> None:
        clients = self._arguments.clients
        for workload in self._compressions:
            some = Workload("", workload.method, workload.requests[: WARM_UP * clients])
            await send(server.url, some, clients)

    async def rates(self) -> list[Workload]:
        """Send everything to one process and to the workers, in turns."""
        async with AsyncExitStack() as stack:
            servers = {
                "one": await self._started(stack, "one"),
                "workers": await self._started(stack, "workers", workers=self._arguments.workers),
            }
            for server in servers.values():
                await self._warm(server)
            path = f"/bitstreams/{await stored(servers['one'].url, self._file)}"
            workloads = [*self._compressions, Workload("read a stored stream", "GET", [(path, b"")] * READS)]
            for turn in range(self._arguments.turns):
                names = ["one", "workers"] if turn % 2 == 0 else ["workers", "one"]
                for workload in workloads:
                    for name in names:
                        seconds = await send(servers[name].url, workload, self._arguments.clients)
                        workload.seconds[name].append(seconds)
        return workloads

    async def memory(self) -> dict[str, dict[str, int]]:
        """Measure each kind while no other is there: it would share the libraries."""
        workers, threads = self._arguments.workers, self._arguments.threads
        kinds: dict[str, list[dict[str, int]]] = {
            "one": [{}],
            "workers": [{"workers": workers}],
            "separate": [{"threads": threads}] * workers,
        }
        held = {}
        for kind, settings in kinds.items():
            async with AsyncExitStack() as stack:
                servers = [
                    await self._started(stack, f"{kind}-{number}", **each)
                    for number, each in enumerate(settings)
                ]
                for server in servers:
                    await self._warm(server)
                held[kind] = memory(servers)
        return held


def tables(
    workloads: Sequence[Workload], held: dict[str, dict[str, int]], workers: int
) -> tuple[Table, Table]:
    """Lay out rates and memory for the terminal."""
    rates = Table("requests/s", box=box.SIMPLE)
    for heading in ("one process", f"{workers} workers", "workers / one"):
        rates.add_column(heading, justify="right")
    for workload in workloads:
        one, several = workload.rate("one"), workload.rate("workers")
        rates.add_row(workload.name, f"{one:.1f}", f"{several:.1f}", f"{workload.ratio:.2f}")
    memories = Table("PSS in MB", box=box.SIMPLE)
    for heading in ("server processes", "with their helpers"):
        memories.add_column(heading, justify="right")
    names = {"one": "one process", "workers": f"{workers} workers", "separate": f"{workers} separate servers"}
    for name, row in held.items():
        memories.add_row(names[name], *(f"{row[kind] / 1e6:.0f}" for kind in ("processes", "with_helpers")))
    return rates, memories


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "workers.json")
    add_folder(options)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--threads", type=int, default=1, help="of each server that is by itself")
    options.add_argument("--clients", type=int, default=16, help="requests at a time")
    options.add_argument("--count", type=int, default=24, help="pictures of the folder to use")
    options.add_argument("--turns", type=int, default=5, help="how often each server is measured")
    options.add_argument("--log", type=Path, default=Path("workers"), help="where the servers' logs go")
    arguments = options.parse_args()
    files = [path.read_bytes() for path in files_of(arguments.folder)[: arguments.count]]
    with TemporaryDirectory(prefix="ziggurat-workers-") as folder:
        runs = Runs(arguments, files, Path(folder))
        workloads = asyncio.run(runs.rates())
        held = asyncio.run(runs.memory())
    for table in tables(workloads, held, arguments.workers):
        Console(width=120).print(table)
    facts = {
        "workers": arguments.workers,
        "clients": arguments.clients,
        "turns": arguments.turns,
        "rates": [workload.facts for workload in workloads],
        "pss_bytes": held,
    }
    write(arguments.output, facts)


if __name__ == "__main__":
    main()

"""Contention: what other work on the machine costs a service that is started as it comes.

    python -m benchmarks.contention kodak/ --output contention.json

Starts `ziggurat serve` with no variable of the thread libraries and none of its own but the address
and a store in memory, and has it compress and decompress the pictures one by one and by eight
clients: with nothing else on the machine, and beside one process that does nothing but count. A
fair share of two cores beside one busy process is 1.5 to 2 times the time alone. Much more means
that threads wait for each other at a barrier where one of them has no core.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.program import add_folder, files_of, parser, write
from benchmarks.server import Server, client, serve_from

BPP = 0.15
BUSY = (sys.executable, "-c", "while True: pass")
# Beginnings of the variables that must not reach the server.
VARIABLES = ("ZIGGURAT_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request in one situation.

    Attributes:
        request: compress or decompress.
        clients: requests at a time.
        busy: processes beside the server.
        per_second: requests.
        seconds: that the median request takes.
        slowest: seconds that the slowest takes.
    """

    request: str
    clients: int
    busy: int
    per_second: float
    seconds: float
    slowest: float


async def post(http: httpx2.AsyncClient, url: str, bodies: Sequence[bytes], clients: int) -> list[float]:
    """Send all bodies, so many at a time; returns the seconds of all, then of each, sorted."""
    waiting = iter(bodies)
    each: list[float] = []

    async def work() -> None:
        for body in waiting:
            begun = time.perf_counter()
            (await http.post(url, content=body)).raise_for_status()
            each.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return [time.perf_counter() - begun, *sorted(each)]


async def measure(files: Sequence[bytes], clients: Sequence[int], checkout: Path, log: Path) -> list[Row]:
    """Measure every situation, on one server."""
    rows: list[Row] = []
    command = serve_from(checkout)
    async with (
        Server(log, command=command, store="memory://", log_level="warning") as server,
        client() as http,
    ):
        compress, decompress = f"{server.url}/compress?bpp={BPP}", f"{server.url}/decompress"
        streams = [(await http.post(compress, content=file)).content for file in files]
        for busy in (0, 1):
            beside = [subprocess.Popen(BUSY) for _ in range(busy)]
            try:
                for count in clients:
                    for url, bodies in ((compress, files), (decompress, streams)):
                        total, *each = await post(http, url, list(bodies) * (2 if count > 1 else 1), count)
                        request = "compress" if url is compress else "decompress"
                        rows.append(
                            Row(request, count, busy, len(each) / total, each[len(each) // 2], each[-1])
                        )
            finally:
                for process in beside:
                    process.kill()
                    process.wait()
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Lay out the rows for the terminal."""
    shown = Table("request", box=box.SIMPLE)
    for heading in ("clients", "busy processes", "a second", "median s", "slowest s", "time / alone"):
        shown.add_column(heading, justify="right")
    alone = {(row.request, row.clients): row.per_second for row in rows if not row.busy}
    for row in rows:
        shown.add_row(
            row.request,
            str(row.clients),
            str(row.busy),
            f"{row.per_second:.2f}",
            f"{row.seconds:.2f}",
            f"{row.slowest:.2f}",
            f"{alone[row.request, row.clients] / row.per_second:.2f}",
        )
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "contention.json")
    add_folder(options)
    options.add_argument("--clients", type=int, nargs="+", default=[1, 8], help="requests at a time")
    options.add_argument("--count", type=int, default=8, help="pictures of the folder to use")
    options.add_argument("--checkout", type=Path, default=Path(), help="of the service, to compare two")
    arguments = options.parse_args()
    for name in [name for name in os.environ if name.startswith(VARIABLES)]:
        del os.environ[name]

    files = [path.read_bytes() for path in files_of(arguments.folder)[: arguments.count]]
    with TemporaryDirectory() as folder:
        rows = asyncio.run(measure(files, arguments.clients, arguments.checkout, Path(folder, "server.log")))
    Console(width=120).print(table(rows))
    write(arguments.output, {"bpp": BPP, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()

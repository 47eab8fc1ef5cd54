"""Throughput: pictures a second of the codec called directly, over HTTP one by one, and by clients.

    python -m benchmarks.throughput kodak/ --clients 16 --output throughput.json

Starts the server on a free port with a store in memory; ZIGGURAT_... settings of the environment
hold for it, and ZIGGURAT_THREADS for the direct calls too. The three ways take turns on the same
files, so that whatever else the machine does meets them alike, and what is reported are ratios
within a turn (their median). Direct calls do what the service does, on one thread and in batches of
`--clients`: read the picture file, compress; decompress, write the PNG.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import httpx2
import torch
from PIL import Image
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.program import add_folder, files_of, parser, write
from benchmarks.server import Server
from models import Target
from models.learned.codec import LearnedCodec
from service import images
from service.settings import Settings

BPP = 0.3
THUMBNAIL = 128  # pixels on a side
WARM_UP_FILES = 2
NO_LIMIT = 10**12  # pixels that may wait in the service's queue
WAYS = ("direct", "one_by_one", "clients")


@dataclass(slots=True)
class Workload:
    """Work that is done in three ways.

    Attributes:
        name: for the table.
        path: of the service, that takes the bodies.
        bodies: to send.
        direct: does the same without a service.
        seconds: that each way needed in each turn.
    """

    name: str
    path: str
    bodies: Sequence[bytes]
    direct: Callable[[Sequence[bytes]], object]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in WAYS})


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one workload.

    Attributes:
        workload: its name.
        images: number of pictures.
        turns: of each way.
        direct: pictures a second, median.
        one_by_one: pictures a second, median.
        clients: pictures a second, median.
        clients_over_one_by_one: ratio of these within a turn, median.
        http_overhead: time by many clients beyond that of direct calls, as a share of it; median.
    """

    workload: str
    images: int
    turns: int
    direct: float
    one_by_one: float
    clients: float
    clients_over_one_by_one: float
    http_overhead: float

    @classmethod
    def from_workload(cls, workload: Workload) -> Row:
        """Sum up a workload that has been run."""
        count = len(workload.bodies)
        direct, one_by_one, clients = (workload.seconds[way] for way in WAYS)
        return cls(
            workload.name,
            count,
            turns=len(direct),
            direct=count / statistics.median(direct),
            one_by_one=count / statistics.median(one_by_one),
            clients=count / statistics.median(clients),
            clients_over_one_by_one=_median_ratio(one_by_one, clients),
            http_overhead=_median_ratio(clients, direct) - 1,
        )


class Direct:
    """The codec without a service around it."""

    def __init__(self, settings: Settings, batch: int) -> None:
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self._codec = LearnedCodec.load(settings.profile, device=settings.device)
        self._batch = batch
        self._max_pixels = settings.max_pixels

    def compress(self, files: Sequence[bytes]) -> list[bytes]:
        """Turn picture files into streams."""
        streams: list[bytes] = []
        for batch in batched(files, self._batch):
            pictures = [images.decode(file, max_pixels=self._max_pixels).picture for file in batch]
            made = self._codec.encode(pictures, [Target(bpp=BPP)] * len(pictures))
            streams += [stream.data for stream in made]
        return streams

    def decompress(self, streams: Sequence[bytes]) -> list[bytes]:
        """Turn streams into PNG files."""
        batches = batched(streams, self._batch)
        pictures = (picture for batch in batches for picture in self._codec.decode(batch))
        return [images.encode(picture, images.ImageFormat.PNG) for picture in pictures]


def batched(bodies: Sequence[bytes], count: int) -> Iterator[list[bytes]]:
    """Do what `itertools.batched` does, which Python 3.11 lacks."""
    remaining = iter(bodies)
    while batch := list(islice(remaining, count)):
        yield batch


async def post(client: httpx2.AsyncClient, workload: Workload, clients: int) -> float:
    """Measure the seconds that so many clients at a time need for all bodies."""
    waiting = iter(workload.bodies)

    async def work() -> None:
        for body in waiting:
            answer = await client.post(workload.path, content=body)
            answer.raise_for_status()

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return time.perf_counter() - begun


async def measure(
    server: Server, workloads: Sequence[Workload], *, clients: int, turns: int, seconds: float
) -> None:
    """Fill in the workloads' seconds, in `turns` turns, or fewer when `seconds` have passed."""
    begun = time.perf_counter()
    async with (
        server,
        httpx2.AsyncClient(base_url=server.url, timeout=None, trust_env=False) as client,
    ):
        for workload in workloads:  # unmeasured: both sides have seen the sizes
            workload.direct(workload.bodies[:WARM_UP_FILES])
            for body in workload.bodies[:WARM_UP_FILES]:
                (await client.post(workload.path, content=body)).raise_for_status()
        for turn in range(turns):
            if turn and (time.perf_counter() - begun) * (turn + 1) / turn > seconds:
                return
            for workload in workloads:
                started = time.perf_counter()
                workload.direct(workload.bodies)
                workload.seconds["direct"].append(time.perf_counter() - started)
                workload.seconds["one_by_one"].append(await post(client, workload, 1))
                workload.seconds["clients"].append(await post(client, workload, clients))


def thumbnails(files: Sequence[bytes], count: int) -> list[bytes]:
    """Make `count` small PNG files, cut out of the pictures in turn."""
    crops: list[bytes] = []
    for number in range(count):
        with Image.open(io.BytesIO(files[number % len(files)])) as image:
            left = THUMBNAIL * (number // len(files)) % max(1, image.width - THUMBNAIL)
            crop = image.convert("RGB").crop((left, 0, left + THUMBNAIL, THUMBNAIL))
        file = io.BytesIO()
        crop.save(file, "PNG")
        crops.append(file.getvalue())
    return crops


def workloads_of(files: Sequence[bytes], direct: Direct, clients: int) -> list[Workload]:
    """Make the workloads: the pictures and thumbnails of them, there and back."""
    small = thumbnails(files, 4 * clients)
    compress = f"/compress?bpp={BPP}"
    streams = direct.compress(files)
    small_streams = direct.compress(small)
    side = f"{THUMBNAIL}x{THUMBNAIL}"
    return [
        Workload("compress images", compress, files, direct.compress),
        Workload("decompress images", "/decompress", streams, direct.decompress),
        Workload(f"compress {side}", compress, small, direct.compress),
        Workload(f"decompress {side}", "/decompress", small_streams, direct.decompress),
    ]


def table(rows: Sequence[Row], clients: int) -> Table:
    """Lay out the rows for the terminal."""
    many = f"{clients} clients"
    shown = Table("images/s", box=box.SIMPLE)
    for heading in ("direct", "one by one", many, f"{many} / one by one", "HTTP over direct"):
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(
            row.workload,
            f"{row.direct:.2f}",
            f"{row.one_by_one:.2f}",
            f"{row.clients:.2f}",
            f"{row.clients_over_one_by_one:.2f}",
            f"{row.http_overhead:+.1%}",
        )
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "throughput.json")
    add_folder(options)
    options.add_argument(
        "--clients",
        type=int,
        default=16,
        help="requests at a time; and pictures in a batch of direct calls",
    )
    options.add_argument("--count", type=int, default=16, help="pictures of the folder to use")
    options.add_argument("--turns", type=int, default=3, help="how often each way is measured")
    options.add_argument("--seconds", type=float, default=240, help="begin no turn that would end later")
    options.add_argument(
        "--log",
        type=Path,
        default=Path("throughput-server.log"),
        help="where the server's log goes",
    )
    arguments = options.parse_args()

    settings = Settings()
    files = [path.read_bytes() for path in files_of(arguments.folder)[: arguments.count]]
    direct = Direct(settings, arguments.clients)
    workloads = workloads_of(files, direct, arguments.clients)
    server = Server(
        arguments.log,
        store="memory://",
        models=settings.profile,
        log_level="warning",
        max_queued_pixels=NO_LIMIT,
    )
    asyncio.run(
        measure(
            server,
            workloads,
            clients=arguments.clients,
            turns=arguments.turns,
            seconds=arguments.seconds,
        )
    )
    rows = [Row.from_workload(workload) for workload in workloads]
    Console(width=120).print(table(rows, arguments.clients))
    facts = {
        "clients": arguments.clients,
        "threads": settings.threads,
        "device": settings.device,
        "bpp": BPP,
        "rows": [asdict(row) for row in rows],
    }
    write(arguments.output, facts)


def _median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Take the median of ratios within a turn."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


if __name__ == "__main__":
    main()

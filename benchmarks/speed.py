"""Speed: the codec and the service against the bare network and against others, as ratios.

    python -m benchmarks.speed --pictures kodak/ [--count 2] [--rounds 4] [--profile psnr]
        [--skip compressai published service] [--cache ~/.cache/ziggurat-benchmarks]
        [--output benchmarks/results/speed.json]

Every row of the table is a ratio with its limit, measured in this one run: in bfloat16 where that
is fast and in float32, on two cores and on one. Cores are the process's affinity; no variable is
set. In a round everything is done once, the next round goes the other way about, and what counts is
the median of the ratios within a round. The first round does not count.

    encode, decode   LearnedCodec.encode to 0.15 bits per pixel and LearnedCodec.decode with
                     post-processing, of one picture: pixels to bytes and back
    bare g_a + h_a   the two transforms called on tensors that are ready; so are g_s + post.
                     "as 0.3.0": plain PyTorch under autocast (`benchmarks.bare`), which does not
                     change; "as now": the codec's own modules, as it calls them
    AVIF             Pillow's at speed 6, at the quality whose file is nearest to our stream's
                     size, with as many threads
    CompressAI       mbt2018-mean in float32, untrained, in an environment of its own that the
                     first run makes in --cache; to strings and back
    published        the network of 2018 (`models.network.tng2018`), untrained, in our dtype, its
                     transforms alone: f_e + h_e + h_d, and h_d + f_d + post. Nothing of it codes
                     entropy, so that the ratio is too large rather than too small
    second core      the time on one core over that on two
    clients          `benchmarks.throughput`: pictures a second of 16 clients over those of one;
                     and the time that HTTP adds to direct calls
    GET to PNG       the whole of GET /decompress, over bare g_s + post as 0.3.0 on all cores
    start to ready   seconds from starting the service, all models loaded, to a green /readyz

Then a roofline for every stage (`benchmarks.roofline`). Prints tables, and writes JSON and, beside
it, the tables in Markdown, which docs/results/speed.md includes.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import throughput
from benchmarks.child import Child, cores, pinned
from benchmarks.markdown import write_markdown
from benchmarks.program import files_of, parser, write
from benchmarks.server import Server, client
from benchmarks.speed_worker import BPP, Job, read, to_avif
from models import Picture, Target
from models.learned.codec import LearnedCodec
from models.network.precision import has_fast_bfloat16
from service.settings import Settings

ROOT = Path(__file__).parents[1]
COMPRESSAI_WORKER = Path(__file__).with_name("compressai_worker.py")
PUBLISHED_ROUNDS = 2  # it takes seconds, of which a few milliseconds more or less do not matter
CLIENTS = 16
PHOTOGRAPHS = 6  # that the clients send
TURNS = 2  # of the service
STARTS = 3
AFTERWARDS = "decode PNG"  # the one stage that is no part of `decode`
PARTS = ("compressai", "published", "service")
SERVED = "service"  # the arithmetic of rows about the service: its own choice, all cores

Seconds = dict[str, list[float]]  # of a round each, by what was done


@dataclass(frozen=True, slots=True, order=True)
class Way:
    """An arithmetic and a number of cores."""

    bfloat16: bool
    cores: int

    def __str__(self) -> str:
        dtype = "bfloat16" if self.bfloat16 else "float32"
        return f"{dtype}, {self.cores} core{'s' if self.cores > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Promise:
    """A limit for what one thing may take of another.

    Attributes:
        name: for the table.
        measured: what is timed.
        over: what it is divided by.
        limit: of the ratio, at most.
    """

    name: str
    measured: str
    over: str
    limit: float


PROMISES = (
    Promise("encode / bare g_a + h_a as 0.3.0", "encode", "bare encode", 2.0),
    Promise("encode / bare g_a + h_a as now", "encode", "own encode", 2.0),
    Promise("decode / bare g_s + post as 0.3.0", "decode", "bare decode", 1.5),
    Promise("decode / bare g_s + post as now", "decode", "own decode", 1.5),
    Promise("encode / AVIF speed 6", "encode", "avif encode", 0.5),
    Promise("encode / CompressAI", "encode", "compressai encode", 0.2),
    Promise("decode / CompressAI", "decode", "compressai decode", 0.2),
    Promise("encode / published network", "encode", "published encode", 0.1),
    Promise("decode / published network", "decode", "published decode", 0.1),
)
SECOND_CORE = 1.6  # times as fast, at least
MANY_CLIENTS = 1.5  # times as many photographs a second, at least
HTTP_COST = 1.15  # times the direct calls' time, at most
GET_TO_PNG = 2.0  # times bare g_s + post, at most
START_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """A row's figure in one arithmetic.

    Attributes:
        name: of the row.
        way: arithmetic and cores.
        value: median of the rounds.
        of_least: ratio of the shortest times of all rounds.
        limit: of the value.
        at_least: the limit is a lower one.
    """

    name: str
    way: str
    value: float
    of_least: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Tell whether the limit is kept."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @classmethod
    def of(
        cls,
        name: str,
        way: str,
        measured: Sequence[float],
        over: Sequence[float],
        limit: float,
        *,
        at_least: bool = False,
    ) -> Ratio:
        """Divide what was measured round by round; either may have fewer rounds."""
        within = [a / b for a, b in zip(measured, over, strict=False)]
        return cls(name, way, statistics.median(within), min(measured) / min(over), limit, at_least)


def promised(seconds: Mapping[Way, Seconds]) -> list[Ratio]:
    """Hold what was measured against the promises; what was skipped is left out."""
    ratios = [
        Ratio.of(promise.name, str(way), found[promise.measured], found[promise.over], promise.limit)
        for promise in PROMISES
        for way, found in seconds.items()
        if promise.over in found
    ]
    for name in ("encode", "decode"):
        for way, found in seconds.items():
            one = seconds.get(Way(way.bfloat16, 1))
            if way.cores > 1 and one is not None:
                label = f"{name} on one core / on {way.cores}"
                ratio = Ratio.of(label, str(way), one[name], found[name], SECOND_CORE, at_least=True)
                ratios.append(ratio)
    return ratios


def ways() -> list[Way]:
    """List the arithmetics and cores to measure, the usual one first."""
    counts = sorted({min(2, len(cores())), 1}, reverse=True)
    dtypes = [True, False] if has_fast_bfloat16(torch.device("cpu")) else [False]
    return [Way(dtype, count) for dtype in dtypes for count in counts]


def avif_quality(file: Path, codec: LearnedCodec) -> int:
    """Find the quality whose AVIF file is nearest in size to our stream of a picture."""
    image = read(str(file))
    wanted = len(codec.encode([Picture.from_image(image)], [Target(bpp=BPP)])[0].data)
    sizes: dict[int, int] = {}
    low, high = 0, 100
    while low <= high:
        quality = (low + high) // 2
        sizes[quality] = len(to_avif(image, quality, len(cores())))
        if sizes[quality] < wanted:
            low = quality + 1
        else:
            high = quality - 1
    return min(sizes, key=lambda quality: abs(sizes[quality] - wanted))


def compressai_python(cache: Path) -> Path | None:
    """Make CompressAI's environment, once, or say why not and return None.

    torch has the version that this repository pins, which many machines have as a small build
    without CUDA; everything else is as CompressAI asks for it.
    """
    python = cache / "compressai" / "bin" / "python"
    ready = cache / "compressai" / ".ready"
    if not ready.exists():
        print("Making an environment for CompressAI: some minutes, once", file=sys.stderr)
        venv.create(cache / "compressai", with_pip=True)
        pins = (ROOT / "constraints.txt").read_text().splitlines()
        (torch_pin,) = [pin for pin in pins if pin.startswith("torch==")]
        pip = [str(python), "-m", "pip", "install", "--quiet", "--only-binary=:all:"]
        for packages in ([torch_pin], [torch_pin, "compressai"]):
            done = subprocess.run([*pip, *packages], capture_output=True, text=True)
            if done.returncode:
                print(f"No CompressAI: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                return None
        ready.touch()
    return python


class Workers:
    """Processes that measure, one for each way, and one for CompressAI on as many cores.

    Args:
        jobs: by way.
        compressai: interpreter of its environment, if any.
        log: of all of them.
    """

    def __init__(self, jobs: Mapping[Way, Job], compressai: Path | None, log: Path) -> None:
        self._stack = ExitStack()
        self._own = {
            way: self._started(
                [sys.executable, "-m", "benchmarks.speed_worker", json.dumps(asdict(job))], way.cores, log
            )
            for way, job in jobs.items()
        }
        self._compressai: dict[int, Child] = {}
        if compressai:
            files = next(iter(jobs.values())).files
            for count in {way.cores for way in jobs}:
                command = [str(compressai), str(COMPRESSAI_WORKER), *files]
                self._compressai[count] = self._started(command, count, log)

    def _started(self, command: Sequence[str], count: int, log: Path) -> Child:
        return self._stack.enter_context(Child(pinned(command, count), log))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def measure(self, rounds: int, *, published: bool) -> dict[Way, Seconds]:
        """Take the rounds, after one that does not count."""
        found: dict[Way, Seconds] = {way: {} for way in self._own}
        for number in range(rounds + 1):
            what = ["codec", "bare", "avif", "stages"]
            what += ["published"] if published and 0 < number <= PUBLISHED_ROUNDS else []
            order = list(self._own)[:: 1 if number % 2 else -1]
            for way in order:
                taken = self._own[way].ask(what)
                for name, seconds in taken.items() if number else ():
                    found[way].setdefault(name, []).append(seconds)
            for count, child in self._compressai.items():
                taken = child.ask()
                for name, seconds in taken.items() if number else ():
                    for way in [way for way in order if way.cores == count]:
                        found[way].setdefault(name, []).append(seconds)
        return found

    def bare_decode(self, way: Way) -> float:
        """Measure the bare transforms of decoding once more."""
        return float(self._own[way].ask(["bare"])["bare decode"])

    def roofline(self, way: Way) -> dict[str, Any]:
        """Ask what the stages have to do, and what the machine can."""
        answer: dict[str, Any] = self._own[way].ask("roofline")
        return answer


async def one_client(
    workers: Workers, way: Way, files: Sequence[bytes], profile: str, log: Path
) -> list[Ratio]:
    """Measure the service's start, and what one client waits for a stored picture as a PNG."""
    starts = []
    gets: list[float] = []
    bare: list[float] = []
    for number in range(STARTS):
        begun = time.perf_counter()
        async with Server(log, store="memory://") as server, client() as http:
            starts.append(time.perf_counter() - begun)
            if number < STARTS - 1:
                continue
            url = f"{server.url}/compress?bpp={BPP}&profile={profile}"
            stored = [await http.post(url, content=file) for file in files]
            ids = [answer.raise_for_status().headers["location"] for answer in stored]
            for turn in range(2 * TURNS + 1):
                begun = time.perf_counter()
                for place in ids:
                    (await http.get(server.url + place)).raise_for_status()
                if turn:
                    gets.append((time.perf_counter() - begun) / len(ids))
                    bare.append(workers.bare_decode(way))
    return [
        Ratio.of("GET to PNG / bare g_s + post as 0.3.0", SERVED, gets, bare, GET_TO_PNG),
        Ratio("start to ready, seconds", SERVED, statistics.median(starts), min(starts), START_SECONDS),
    ]


def many_clients(files: Sequence[bytes], log: Path) -> list[Ratio]:
    """Measure many clients against one, and HTTP against direct calls."""
    settings = Settings()
    direct = throughput.Direct(settings, CLIENTS)
    workloads = throughput.workloads_of(files, direct, CLIENTS)
    server = Server(log, store="memory://")
    asyncio.run(throughput.measure(server, workloads, clients=CLIENTS, turns=TURNS, seconds=float("inf")))
    ratios = []
    for workload in workloads:
        one, many, called = (workload.seconds[name] for name in ("one_by_one", "clients", "direct"))
        if workload.name.endswith("images"):
            name = f"{workload.name}, {CLIENTS} clients over one by one"
            ratios.append(Ratio.of(name, SERVED, one, many, MANY_CLIENTS, at_least=True))
        else:
            name = f"{workload.name}, over HTTP / called"
            ratios.append(Ratio.of(name, SERVED, many, called, HTTP_COST))
    return ratios


@dataclass(frozen=True, slots=True)
class Line:
    """A stage on the roofline.

    Attributes:
        stage: "encode" or "decode", and its name.
        operations: two for each multiplication with its addition.
        moved: bytes read and written.
        least_seconds: that the machine's peaks allow.
        seconds: that it took, the shortest of all rounds.
    """

    stage: str
    operations: int
    moved: int
    least_seconds: float
    seconds: float

    @property
    def share(self) -> float:
        """Share of the peak that it reached."""
        return self.least_seconds / self.seconds


@dataclass(frozen=True, slots=True)
class Roofline:
    """All stages in one arithmetic, and what is left of the whole.

    Attributes:
        way: arithmetic and cores.
        peaks: of the machine: operations a second in either dtype, bytes a second copied.
        lines: of the stages.
        rest: seconds of encoding and of decoding beyond those of the stages: rate control's probes,
            and whatever lies between the stages.
    """

    way: str
    peaks: Mapping[str, float | None]
    lines: Sequence[Line]
    rest: Mapping[str, float]

    @classmethod
    def of(cls, way: Way, answer: Mapping[str, Any], seconds: Seconds) -> Roofline:
        """Put what was counted and what was timed together."""
        lines = []
        for stage in answer["stages"]:
            taken = min(seconds[stage["title"]]) - sum(min(seconds[name]) for name in stage["contains"])
            line = Line(
                stage["title"], stage["operations"], stage["moved"], stage["least_seconds"], max(taken, 1e-6)
            )
            lines.append(line)
        rest = {
            name: min(seconds[name])
            - sum(line.seconds for line in lines if line.stage.startswith(name) and line.stage != AFTERWARDS)
            for name in ("encode", "decode")
        }
        return cls(str(way), answer["peaks"], lines, rest)


def targets_table(ratios: Sequence[Ratio]) -> Table:
    """Lay out the ratios for the terminal, a column for each arithmetic."""
    columns = list(dict.fromkeys(ratio.way for ratio in ratios))
    shown = Table("", box=box.SIMPLE)
    for heading in (*columns, "limit", "met"):
        shown.add_column(heading, justify="right")
    for name in dict.fromkeys(ratio.name for ratio in ratios):
        row = {ratio.way: ratio for ratio in ratios if ratio.name == name}
        first = next(iter(row.values()))
        cells = [f"{row[way].value:.2f}" if way in row else "" for way in columns]
        limit = f"{'>=' if first.at_least else '<='} {first.limit:g}"
        missed = sum(not ratio.met for ratio in row.values())
        shown.add_row(name, *cells, limit, "yes" if not missed else f"missed in {missed} of {len(row)}")
    return shown


def roofline_table(roofline: Roofline) -> Table:
    """Lay out the stages for the terminal."""
    peaks = ", ".join(
        f"{name} {peak / 1e9:.0f} {'GB/s' if name == 'copied' else 'Gop/s'}"
        for name, peak in roofline.peaks.items()
        if peak
    )
    shown = Table("", title=f"{roofline.way}: {peaks}", box=box.SIMPLE)
    for heading in ("Gop", "MB", "ms at least", "ms", "share"):
        shown.add_column(heading, justify="right")
    for line in roofline.lines:
        shown.add_row(
            line.stage,
            f"{line.operations / 1e9:.2f}",
            f"{line.moved / 1e6:.1f}",
            f"{1e3 * line.least_seconds:.2f}",
            f"{1e3 * line.seconds:.2f}",
            f"{line.share:.0%}" if line.share <= 1 else "lost in noise",
        )
    for direction, rest in roofline.rest.items():
        shown.add_row(f"{direction}, the rest", "", "", "", f"{1e3 * rest:.2f}", "")
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "benchmarks/results/speed.json")
    options.add_argument("--pictures", type=Path, required=True, help="folder of pictures")
    options.add_argument("--count", type=int, default=2, help="pictures of the folder to use")
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--profile", default="psnr")
    options.add_argument("--skip", nargs="*", choices=PARTS, default=(), help="what not to measure")
    options.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "ziggurat-benchmarks")
    arguments = options.parse_args()
    begun = time.perf_counter()
    on_two_cores()
    files = files_of(arguments.pictures)
    measured = files[: arguments.count]
    codec = LearnedCodec.load(arguments.profile)
    qualities = [avif_quality(file, codec) for file in measured]
    python = None if "compressai" in arguments.skip else compressai_python(arguments.cache)
    jobs = {
        way: Job([str(file) for file in measured], arguments.profile, way.cores, way.bfloat16, qualities)
        for way in ways()
    }
    with TemporaryDirectory() as scratch:
        log = Path(scratch) / "log"
        with Workers(jobs, python, log) as workers:
            seconds = workers.measure(arguments.rounds, published="published" not in arguments.skip)
            rooflines = [Roofline.of(way, workers.roofline(way), seconds[way]) for way in jobs]
            ratios = promised(seconds)
            if "service" not in arguments.skip:
                bodies = [file.read_bytes() for file in measured]
                way = next(iter(jobs))
                ratios += asyncio.run(one_client(workers, way, bodies, arguments.profile, log))
        if "service" not in arguments.skip:
            ratios += many_clients([file.read_bytes() for file in files[:PHOTOGRAPHS]], log)
    targets = targets_table(ratios)
    stages = [roofline_table(roofline) for roofline in rooflines]
    for table in (targets, *stages):
        Console(width=150).print(table)
    facts = {
        "images": [file.name for file in measured],
        "bpp": BPP,
        "profile": arguments.profile,
        "rounds": arguments.rounds,
        "avif_qualities": qualities,
        "minutes": (time.perf_counter() - begun) / 60,
        "ratios": [asdict(ratio) | {"met": ratio.met} for ratio in ratios],
        "seconds": [
            {"way": str(way), "what": name, "median": statistics.median(taken), "least": min(taken)}
            for way, found in seconds.items()
            for name, taken in found.items()
        ],
        "rooflines": [asdict(roofline) for roofline in rooflines],
    }
    write(arguments.output, facts)
    write_markdown(arguments.output.with_name(f"{arguments.output.stem}-targets.md"), [targets])
    write_markdown(arguments.output.with_name(f"{arguments.output.stem}-roofline.md"), stages)


def on_two_cores() -> None:
    """Bind this process, and all that it starts, to two cores, which the targets are for."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores()[:2])
    torch.set_num_threads(min(2, torch.get_num_threads()))


if __name__ == "__main__":
    main()

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

Then a roofline for every stage (`benchmarks.roofline`). Prints tables and writes JSON.
"""

from __future__ import annotations

import asyncio
import json
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

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import throughput
from benchmarks.child import Child, cores, pinned
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
        """Whether the limit is kept."""
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

    def roofline(self, way: Way) -> dict[str, object]:
        """Ask what the stages have to do, and what the machine can."""
        answer: dict[str, object] = self._own[way].ask("roofline")
        return answer

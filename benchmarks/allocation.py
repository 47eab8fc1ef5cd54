"""Gain of one budget for a whole folder over the same rate, or quality, for every picture.

    python -m benchmarks.allocation FOLDER [--bpp 0.15] [--profile ms-ssim psnr] [--device cpu]
        [--output allocation.json]

Each model is judged by its own metric: the mean MS-SSIM of the pictures, or one PSNR over all their
pixels. Every row is of real streams, decoded. Two figures are read off the measured curves: the
score of a constant rate at exactly the budget, which its streams lie a little under, and the bits
per pixel that it needs for the score of the shared budget. What `ziggurat evaluate` has measured of
this model on this folder is not measured again. Prints tables and writes JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.program import add_folder, parser, write
from models import Picture, Stream, Target
from models.collection import compare, encode
from models.evaluation import run as evaluation
from models.evaluation.curves import decibels
from models.evaluation.points import Point, budget_of
from models.evaluation.run import RATES, image_paths, read_picture
from models.evaluation.sweeps import QUALITIES, OwnSweeps
from models.learned.codec import LearnedCodec
from models.rate_control import Measured, Metric, RateDistortion, SetScores, allocate
from models.rate_control.pchip import Pchip
from models.weights.registry import available

EVALUATION = Path(evaluation.__file__).with_name("results")
QUALITY_STEPS = 10_000  # of the search for a common quality
RATE_RANGE = (0.01, 4.0)  # bits per pixel between which a constant rate is searched
BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class Row:
    """One way to spend the budget.

    Attributes:
        way: its name.
        bytes: of all streams.
        psnr: of one MSE over all pixels, in dB.
        ms_ssim: mean over the pictures, [0, 1].
        ms_ssim_db: the same in dB.
        bpp: bits per pixel of each picture.
    """

    way: str
    bytes: int
    psnr: float
    ms_ssim: float
    ms_ssim_db: float
    bpp: list[float]

    @classmethod
    def from_measured(cls, way: str, measured: Sequence[Measured], pixels: Sequence[int]) -> Row:
        """Sum up what one way made of pictures of so many pixels."""
        scores = SetScores.of(measured, pixels)
        return cls(
            way=way,
            bytes=sum(point.size for point in measured),
            psnr=round(scores.psnr, 4),
            ms_ssim=round(scores.ms_ssim, 6),
            ms_ssim_db=round(decibels(scores.ms_ssim), 4),
            bpp=[round(8 * point.size / count, 4) for point, count in zip(measured, pixels, strict=True)],
        )

    def score(self, metric: Metric) -> float:
        """Look up the score by a metric in dB."""
        return self.psnr if metric == "psnr" else self.ms_ssim_db


@dataclass(frozen=True, slots=True)
class Found:
    """Everything about one model.

    Attributes:
        profile: its name.
        model_id: 8 hex digits.
        metric: that it is judged by.
        budget: bytes for the folder.
        rows: constant rate, constant quality, shared budget.
        constant_db: score of a constant rate at exactly the budget, off the curves.
        constant_bpp: constant rate that has the score of the shared budget, off the curves.
    """

    profile: str
    model_id: str
    metric: Metric
    budget: int
    rows: list[Row]
    constant_db: float
    constant_bpp: float


class Folder:
    """The pictures of a folder, read again whenever they are needed."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.resolve().name
        self.paths = image_paths(folder)
        self.pixels = [picture.pixels for picture in self]

    def __iter__(self) -> Iterator[Picture]:
        return map(read_picture, self.paths)


def measure(codec: LearnedCodec, folder: Folder, bpp: float) -> Found:
    """Spend `bpp` bits per pixel of the whole folder in three ways."""
    budget = budget_of(bpp, sum(folder.pixels))
    swept, constant = _swept(codec, folder, bpp)
    curves = [
        RateDistortion.of(measured, codec.metric, pixels)
        for measured, pixels in zip(swept, folder.pixels, strict=True)
    ]
    quality = _common_quality(swept, budget)
    one_quality = (codec.encode([picture], [Target(quality=quality)])[0] for picture in folder)
    shared = encode(codec, folder, allocate(curves, budget), budget)
    ways = {
        "constant bpp": constant,
        "constant quality": _decoded(codec, folder, one_quality, "one quality"),
        "shared budget": _decoded(codec, folder, shared, "one budget"),
    }
    rows = [Row.from_measured(way, measured, folder.pixels) for way, measured in ways.items()]
    constant_rate = _ConstantRate(curves, folder.pixels, codec.metric)
    return Found(
        codec.name,
        codec.model_id,
        codec.metric,
        budget,
        rows,
        constant_db=round(constant_rate.score(bpp), 4),
        constant_bpp=round(constant_rate.rate_for(rows[-1].score(codec.metric)), 5),
    )


def table(found: Found, name: str) -> Table:
    """Lay out one model for the terminal."""
    title = f"{found.profile} {found.model_id} on {name}, {found.budget} bytes"
    shown = Table(title=title, box=box.SIMPLE)
    headings = ("", "bytes", "of budget", "PSNR of all pixels", "mean MS-SSIM", "dB")
    for heading in (*headings, "bpp, lowest to highest"):
        shown.add_column(heading, justify="right")
    for row in found.rows:
        shown.add_row(
            row.way,
            f"{row.bytes}",
            f"{row.bytes / found.budget:.2%}",
            f"{row.psnr:.3f}",
            f"{row.ms_ssim:.5f}",
            f"{row.ms_ssim_db:.3f}",
            f"{min(row.bpp):.3f} to {max(row.bpp):.3f}",
        )
    gain = found.rows[-1].score(found.metric) - found.constant_db
    needed = f"which needs {found.constant_bpp:.4f} bpp for as much"
    shown.caption = f"{gain:+.3f} dB over a constant rate at the same bytes, {needed}"
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "allocation.json")
    add_folder(options)
    options.add_argument("--bpp", type=float, default=0.15)
    options.add_argument("--profile", nargs="+", default=available(), choices=available())
    options.add_argument("--device", default="cpu")
    arguments = options.parse_args()
    folder = Folder(arguments.folder)
    models = []
    for profile in arguments.profile:
        found = measure(LearnedCodec.load(profile, device=arguments.device), folder, arguments.bpp)
        Console().print(table(found, folder.name))
        models.append(asdict(found))
    facts = {
        "images": [path.name for path in folder.paths],
        "bpp": arguments.bpp,
        "device": arguments.device,
        "models": models,
    }
    write(arguments.output, facts)


class _ConstantRate:
    """A constant rate for every picture, read off the pictures' curves."""

    def __init__(self, curves: Sequence[RateDistortion], pixels: Sequence[int], metric: Metric) -> None:
        self._curves = curves
        self._pixels = pixels
        self._weight = sum(pixels) if metric == "psnr" else len(pixels)

    def score(self, bpp: float) -> float:
        """Score the set in dB."""
        distortion = sum(
            curve(round(bpp * count / 8)) for curve, count in zip(self._curves, self._pixels, strict=True)
        )
        return float(-10 * np.log10(distortion / self._weight))

    def rate_for(self, score: float) -> float:
        """Find the bits per pixel at which the set has a score, which rises with the rate."""
        low, high = RATE_RANGE
        for _ in range(BISECTIONS):
            middle = (low * high) ** 0.5
            if self.score(middle) < score:
                low = middle
            else:
                high = middle
        return high


def _swept(codec: LearnedCodec, folder: Folder, bpp: float) -> tuple[list[list[Measured]], list[Measured]]:
    """Look up or measure every picture's sweep, and its stream at the constant rate."""
    before = OwnSweeps(EVALUATION / f"{folder.name}-ours.json")
    rates = RATES if bpp in RATES else (bpp,)
    swept = []
    constant = []
    for picture in track(folder, f"{codec.name}: measuring", len(folder.paths)):
        sweep = before.sweep(codec, picture, rates, effort=0)
        swept.append([_measured(point) for point in sweep.points])
        constant += [_measured(row.point) for row in sweep.exact if row.target_bpp == bpp]
    return swept, constant


def _measured(point: Point) -> Measured:
    return Measured(point.size, 10 ** (-point.psnr / 10), point.ms_ssim)


def _decoded(codec: LearnedCodec, folder: Folder, streams: Iterable[Stream], way: str) -> list[Measured]:
    """Decode the stream of every picture, and measure it."""
    pairs = zip(folder, streams, strict=True)
    return [
        compare(codec, picture, codec.decode([stream.data]), [len(stream.data)])[0]
        for picture, stream in track(pairs, f"{codec.name}: {way}", len(folder.paths))
    ]


def _common_quality(swept: Sequence[Sequence[Measured]], budget: int) -> float:
    """Find the quality at which all streams together should have so many bytes."""
    totals = np.log([sum(point.size for point in points) for points in zip(*swept, strict=True)])
    qualities = np.linspace(QUALITIES[0], QUALITIES[-1], QUALITY_STEPS + 1)
    sizes = Pchip(np.array(QUALITIES), totals)(qualities)
    return float(qualities[np.searchsorted(sizes, np.log(budget)).clip(max=QUALITY_STEPS)])


if __name__ == "__main__":
    main()

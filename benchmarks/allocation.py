"""What one budget for a whole folder gains over the same bits per pixel, or one quality, for every image.

    python -m benchmarks.allocation FOLDER [--bpp 0.15] [--profile ms-ssim psnr] [--device cpu] [--output allocation.json]

Each model is judged by its own score: the mean MS-SSIM of the images, or one PSNR over all their pixels. Every row is of real streams,
decoded. Two figures are read off the measured curves: the score of a constant rate at exactly the budget, which its streams lie a little
under, and how many bits per pixel it needs for the score of the shared budget. What `ziggurat evaluate` has measured of this model on
this folder is not measured again. Prints tables and writes JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models import Picture, Stream, Target
from models.collection import compare, encode
from models.evaluation import run as evaluation
from models.evaluation.curves import decibels
from models.evaluation.points import Point
from models.evaluation.run import RATES, image_paths, read_picture
from models.evaluation.sweeps import QUALITIES, OwnSweeps
from models.learned.codec import LearnedCodec
from models.rate_control import Measured, Metric, RateDistortion, SetScores, allocate
from models.rate_control.pchip import Pchip
from models.weights.registry import available

EVALUATION = Path(evaluation.__file__).with_name("results")
METRICS: tuple[Metric, ...] = ("ms-ssim", "psnr")


@dataclass(frozen=True, slots=True)
class Row:
    """A way to spend the budget: bytes in all, PSNR over all pixels in dB, mean MS-SSIM as it is and in dB, each image's bits per pixel."""

    way: str
    bytes: int
    psnr: float
    ms_ssim: float
    ms_ssim_db: float
    bpp: list[float]

    def score(self, metric: Metric) -> float:
        """In dB."""
        return self.psnr if metric == "psnr" else self.ms_ssim_db


@dataclass(frozen=True, slots=True)
class Found:
    """One model: its rows; off the curves, the score of a constant rate at the budget, and the rate at which it has the shared one's."""

    profile: str
    model_id: str
    metric: Metric
    budget: int
    rows: list[Row]
    constant_db: float
    constant_bpp: float


class Folder:
    """The images of a folder, read again whenever they are needed."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.resolve().name
        self.paths = image_paths(folder)
        self.pixels = [picture.pixels for picture in self]

    def __iter__(self) -> Iterator[Picture]:
        return map(read_picture, self.paths)


def measure(codec: LearnedCodec, metric: Metric, folder: Folder, bpp: float) -> Found:
    """Three ways to spend `bpp` bits per pixel of the whole folder."""
    budget = int(bpp * sum(folder.pixels) / 8)
    before = OwnSweeps(EVALUATION / f"{folder.name}-ours.json", perceptual=False)
    rates = RATES if bpp in RATES else (bpp,)
    sweeps = [before.sweep(codec, picture, rates, effort=0) for picture in track(folder, f"{codec.name}: measuring", len(folder.paths))]
    swept = [[_known(point) for point in sweep.points] for sweep in sweeps]
    constant = [_known(row.point) for sweep in sweeps for row in sweep.exact if row.target_bpp == bpp]
    curves = [RateDistortion.of(measured, metric, pixels) for measured, pixels in zip(swept, folder.pixels, strict=True)]
    quality = _common_quality(swept, budget)
    one_quality = (codec.encode([picture], [Target(quality=quality)])[0] for picture in folder)
    shared = encode(codec, folder, allocate(curves, budget), budget)
    rows = [
        _row("constant bpp", folder, constant),
        _row("constant quality", folder, _decoded(codec, folder, one_quality, "one quality")),
        _row("shared budget", folder, _decoded(codec, folder, shared, "one budget")),
    ]
    score = partial(_constant_score, curves, folder.pixels, metric)
    low, high = 0.01, 4.0
    for _ in range(40):  # it rises with the rate
        middle = (low * high) ** 0.5
        low, high = (middle, high) if score(middle) < rows[-1].score(metric) else (low, middle)
    return Found(codec.name, codec.model_id, metric, budget, rows, round(score(bpp), 4), round(high, 5))


def _known(point: Point) -> Measured:
    return Measured(point.size, 10 ** (-point.psnr / 10), point.ms_ssim)


def _decoded(codec: LearnedCodec, folder: Folder, streams: Iterable[Stream], way: str) -> list[Measured]:
    pairs = zip(folder, streams, strict=True)
    return [
        compare(codec, picture, codec.decode([stream.data]), [len(stream.data)])[0]
        for picture, stream in track(pairs, f"{codec.name}: {way}", len(folder.paths))
    ]


def _row(way: str, folder: Folder, measured: Sequence[Measured]) -> Row:
    scores = SetScores.of(measured, folder.pixels)
    rates = [round(8 * one.size / pixels, 4) for one, pixels in zip(measured, folder.pixels, strict=True)]
    size = sum(one.size for one in measured)
    return Row(way, size, round(scores.psnr, 4), round(scores.ms_ssim, 6), round(decibels(scores.ms_ssim), 4), rates)


def _common_quality(swept: Sequence[Sequence[Measured]], budget: int) -> float:
    """The quality at which all streams together should have so many bytes."""
    totals = np.log([sum(point.size for point in points) for points in zip(*swept, strict=True)])
    grid = np.linspace(QUALITIES[0], QUALITIES[-1], 10_001)
    return float(grid[np.searchsorted(Pchip(np.array(QUALITIES), totals)(grid), np.log(budget)).clip(max=10_000)])


def _constant_score(curves: Sequence[RateDistortion], pixels: Sequence[int], metric: Metric, bpp: float) -> float:
    """Score in dB of the same rate for all, off the curves."""
    distortion = sum(curve(round(bpp * count / 8)) for curve, count in zip(curves, pixels, strict=True))
    return float(-10 * np.log10(distortion / (sum(pixels) if metric == "psnr" else len(pixels))))


def table(found: Found, name: str) -> Table:
    """For the terminal."""
    shown = Table(title=f"{found.profile} {found.model_id} on {name}, {found.budget} bytes", box=box.SIMPLE)
    for heading in ("", "bytes", "of budget", "PSNR of all pixels", "mean MS-SSIM", "dB", "bpp, lowest to highest"):
        shown.add_column(heading, justify="right")
    for row in found.rows:
        share, rates = f"{row.bytes / found.budget:.2%}", f"{min(row.bpp):.3f} to {max(row.bpp):.3f}"
        shown.add_row(row.way, f"{row.bytes}", share, f"{row.psnr:.3f}", f"{row.ms_ssim:.5f}", f"{row.ms_ssim_db:.3f}", rates)
    gain = found.rows[-1].score(found.metric) - found.constant_db
    shown.caption = f"{gain:+.3f} dB over a constant rate at the same bytes, which needs {found.constant_bpp:.4f} bpp for as much"
    return shown


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--profile", nargs="+", default=METRICS, choices=available())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("allocation.json"))
    options = parser.parse_args()
    folder, results = Folder(options.folder), []
    for profile in options.profile:
        metric: Metric = "psnr" if profile == "psnr" else "ms-ssim"
        found = measure(LearnedCodec.load(profile, device=options.device), metric, folder, options.bpp)
        Console().print(table(found, folder.name))
        results.append(asdict(found))
    facts = {"images": [path.name for path in folder.paths], "bpp": options.bpp, "device": options.device, "models": results}
    options.output.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The report of an evaluation: as data, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.evaluation.bd_rate import BDRate, bd_rate
from models.evaluation.curves import (
    METRICS,
    Mean,
    MeasuredCurve,
    QualityMetric,
    curve_of,
    decibels,
    interpolated,
    mean_of,
)
from models.evaluation.judges import JPEG_AI, JUDGES, Judge
from models.evaluation.points import Point

# Bits per pixel at which CLIC compared codecs, and at which the tables do.
HEADLINE = 0.15
BD_RATES = (0.05, 0.8)  # bits per pixel between which BD-rates are taken
METRIC_NAMES: dict[QualityMetric, str] = {
    "psnr": "PSNR",
    "ms-ssim": "MS-SSIM",
    "ms-ssim-y": "MS-SSIM of luma",
    "vifp": "VIFp",
    "fsimc": "FSIMc",
    "nlpd": "NLPD",
    "iw-ssim": "IW-SSIM",
    "vmaf": "VMAF",
    "psnr-hvs": "PSNR-HVS",
    "ssimulacra2": "SSIMULACRA2",
    "vmaf-neg": "VMAF NEG",
    "cvvdp": "CVVDP",
    "ciede2000": "CIEDE2000",
}
DECIMALS: dict[Judge, int] = {
    "vmaf": 1,
    "ssimulacra2": 1,
    "vmaf-neg": 1,
    "psnr-hvs": 2,
    "cvvdp": 2,
    "ciede2000": 2,
}
ABSENT = "–"  # in a cell of a table


@dataclass(frozen=True, slots=True)
class TargetPoint:
    """One picture at a rate asked for.

    Attributes:
        target_bpp: bits per pixel asked for.
        point: the largest stream within it, or the nearest there is.
        met: rate control, or the search over an anchor's qualities, calls the rate met.
        probes: positions that rate control looked at.
    """

    target_bpp: float
    point: Point
    met: bool
    probes: int


@dataclass(frozen=True, slots=True)
class ImageSweep:
    """One picture through one codec.

    Attributes:
        points: over the codec's settings.
        exact: at rates asked for.
    """

    points: tuple[Point, ...]
    exact: tuple[TargetPoint, ...]

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> ImageSweep:
        """Read what `dataclasses.asdict` and JSON made of a sweep."""
        exact = (TargetPoint(**{**point, "point": Point(**point["point"])}) for point in row["exact"])
        return cls(tuple(Point(**point) for point in row["points"]), tuple(exact))


@dataclass(frozen=True, slots=True)
class AtRate:
    """A codec over the set at the headline rate.

    Attributes:
        codec: its name.
        real: means of the largest real streams within the rate; None unless every picture has one.
        reached: number of pictures that have one.
        interpolated: means of interpolations, picture by picture, at exactly the rate; None unless
            every picture's sweep spans it.
    """

    codec: str
    real: Mean | None
    reached: int
    interpolated: Mean | None


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Our rate control over the set at one target.

    Attributes:
        codec: its name.
        target_bpp: bits per pixel asked for.
        mean: over the pictures.
        met: number of pictures that met the target.
        ratio: of the rate to the target: lowest, median, highest.
        probes: positions looked at: lowest, median, highest.
    """

    codec: str
    target_bpp: float
    mean: Mean
    met: int
    ratio: tuple[float, float, float]
    probes: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class BDComparison:
    """A BD-rate between two codecs.

    Attributes:
        codec: the one that is judged.
        anchor: the one that it is compared with.
        metric: that qualities are equal by.
        bd: None where the two curves share no quality within the rates.
    """

    codec: str
    anchor: str
    metric: QualityMetric
    bd: BDRate | None

    @classmethod
    def from_curves(
        cls,
        curve: MeasuredCurve,
        anchor: MeasuredCurve,
        metric: QualityMetric,
        *,
        rates: tuple[float, float] = BD_RATES,
    ) -> BDComparison:
        """Compare two curves, over the qualities that both reach at these bits per pixel."""
        try:
            bd = bd_rate(curve.rate_quality(metric), anchor.rate_quality(metric), rates=rates)
        except ValueError:
            bd = None
        return cls(curve.codec, anchor.codec, metric, bd)

    def cell(self) -> str:
        """Write it for a table, such as "-4.8 % (31.2–38.5)"."""
        if self.bd is None:
            return ABSENT
        return f"{self.bd.percent:+.1f} % ({self.bd.low:.1f}–{self.bd.high:.1f})"


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation of codecs on a set of pictures.

    Attributes:
        name: of the set.
        images: names of the pictures.
        pixels: of all of them.
        versions: of every codec.
        curves: one for each codec, ours first.
        at_rate: one for each codec, at the headline rate.
        operating: of our codecs, at every rate asked for.
        comparisons: of our codecs against the others, by every metric.
        ours: names of our codecs.
    """

    name: str
    images: tuple[str, ...]
    pixels: int
    versions: dict[str, str]
    curves: tuple[MeasuredCurve, ...]
    at_rate: tuple[AtRate, ...]
    operating: tuple[OperatingPoint, ...]
    comparisons: tuple[BDComparison, ...]
    ours: tuple[str, ...]

    @classmethod
    def from_sweeps(
        cls,
        name: str,
        images: Sequence[str],
        pixels: int,
        versions: Mapping[str, str],
        ours: Mapping[str, Sequence[ImageSweep]],
        theirs: Mapping[str, Sequence[ImageSweep]],
    ) -> Report:
        """Compute everything that follows from the sweeps, one for each picture and codec."""
        everyone = {**ours, **theirs}
        curves = {
            codec: curve_of(codec, [sweep.points for sweep in sweeps]) for codec, sweeps in everyone.items()
        }
        return cls(
            name=name,
            images=tuple(images),
            pixels=pixels,
            versions=dict(versions),
            curves=tuple(curves.values()),
            at_rate=tuple(_at_rate(codec, sweeps) for codec, sweeps in everyone.items()),
            operating=tuple(
                point for codec, sweeps in ours.items() for point in operating_points(codec, sweeps)
            ),
            comparisons=tuple(
                BDComparison.from_curves(curves[codec], curves[anchor], metric)
                for metric in METRICS
                if any(curve.has(metric) for curve in curves.values())
                for codec in ours
                for anchor in theirs
            ),
            ours=tuple(ours),
        )

    def mean_of_seven(self, codec: str, anchor: str) -> float | None:
        """Average the BD-rates by JPEG AI's seven metrics, in per cent; None where one lacks."""
        found = [
            row.bd.percent
            for row in self.comparisons
            if (row.codec, row.anchor) == (codec, anchor) and row.metric in JPEG_AI and row.bd
        ]
        return float(np.mean(found)) if len(found) == len(JPEG_AI) else None

    def json(self) -> str:
        """Write all of it as JSON, six significant digits."""
        return json.dumps(rounded(asdict(self)), separators=(",", ":")) + "\n"

    def markdown(self) -> str:
        """Write tables: at the headline rate, our rate control, BD-rates by every metric."""
        parts = [
            f"# {self.name}: {len(self.images)} images, {self.pixels / 1e6:.1f} megapixels",
            "Real files, means over the images, one metric code for all. "
            "MS-SSIM in dB is -10 log10(1 - mean MS-SSIM).",
            *self._headline_parts(),
            *self._judge_parts(),
        ]
        if self.operating:
            parts += [*self._operating_parts(), *self._bd_parts()]
        versions = "; ".join(f"{codec} {version}" for codec, version in self.versions.items())
        return "\n\n".join([*parts, f"Versions: {versions}."]) + "\n"

    def _headline_parts(self) -> list[str]:
        head = ["codec", "bpp", "PSNR", "MS-SSIM", "dB", "PSNR interpolated", "MS-SSIM interpolated"]
        head += ["dB"]
        rows = [
            [row.codec, *self._cells(row.real, row.reached), *self._cells(row.interpolated)[1:]]
            for row in self.at_rate
        ]
        return [
            f"## At {HEADLINE} bits per pixel",
            "*Real*: per image the largest file within the rate. "
            "*Interpolated*: per image linear in ln(rate) between the two nearest settings, "
            "at exactly the rate, as if quality scales were continuous.",
            _table(head, rows),
        ]

    def _judge_parts(self) -> list[str]:
        asked = [
            judge
            for judge in JUDGES
            if any(judge in mean.scores for curve in self.curves for mean in curve.means)
        ]
        if not asked:
            return []
        head = ["codec", *(METRIC_NAMES[judge] for judge in asked)]
        rows = [[row.codec, *_judge_cells(row.interpolated, asked)] for row in self.at_rate]
        return [
            f"## What judges say at {HEADLINE} bits per pixel",
            "Interpolated, between settings at which a judge was asked. Less is better by NLPD and "
            "CIEDE2000, more by the others. SSIMULACRA2, VMAF NEG, CVVDP and CIEDE2000 were in no loss "
            "of ours and in no choice of a constant.",
            _table(head, rows),
        ]

    def _operating_parts(self) -> list[str]:
        head = ["codec", "target bpp", "bpp", "achieved / target", "met", "probes", "PSNR", "MS-SSIM", "dB"]
        return [
            "## Our rate control",
            "Achieved / target and probes: lowest, median, highest over the images.",
            _table(head, [self._operating_row(row) for row in self.operating]),
        ]

    def _operating_row(self, row: OperatingPoint) -> list[str]:
        bpp, *quality = self._cells(row.mean)
        ratio = " / ".join(f"{value:.4f}" for value in row.ratio)
        met = f"{row.met} of {len(self.images)}"
        probes = " / ".join(f"{value:g}" for value in row.probes)
        return [row.codec, f"{row.target_bpp:g}", bpp, ratio, met, probes, *quality]

    def _bd_parts(self) -> list[str]:
        measured = {row.metric for row in self.comparisons if row.bd}
        return [
            "## BD-rate",
            "Bits saved (negative) or lost at equal quality; PCHIP on ln(rate) between "
            f"{BD_RATES[0]} and {BD_RATES[1]} bits per pixel. "
            "In brackets the qualities common to both codecs there, over which the mean is taken: "
            "similarities in dB, NLPD as -20 log10, CIEDE2000 negative.",
            *(self._bd_table(metric) for metric in METRICS if metric in measured),
            *self._seven_parts(),
        ]

    def _seven_parts(self) -> list[str]:
        anchors = [curve.codec for curve in self.curves if curve.codec not in self.ours]
        means = {
            (anchor, codec): self.mean_of_seven(codec, anchor) for anchor in anchors for codec in self.ours
        }
        if all(mean is None for mean in means.values()):
            return []
        cells = {pair: ABSENT if mean is None else f"{mean:+.1f} %" for pair, mean in means.items()}
        names = ", ".join(METRIC_NAMES[judge] for judge in JPEG_AI)
        return [
            f"Mean over the seven metrics of JPEG AI's common test conditions ({names}):",
            _table(
                ["mean of seven, against", *self.ours],
                [[anchor, *(cells[anchor, codec] for codec in self.ours)] for anchor in anchors],
            ),
        ]

    def _bd_table(self, metric: QualityMetric) -> str:
        rows = [row for row in self.comparisons if row.metric == metric]
        cells = {(row.anchor, row.codec): row.cell() for row in rows}
        codecs = list(dict.fromkeys(row.codec for row in rows))
        anchors = dict.fromkeys(row.anchor for row in rows)
        return _table(
            [f"{METRIC_NAMES[metric]}, against", *codecs],
            [[anchor, *(cells[anchor, codec] for codec in codecs)] for anchor in anchors],
        )

    def _cells(self, mean: Mean | None, reached: int | None = None) -> list[str]:
        """Write bits per pixel, PSNR, MS-SSIM and its dB; where there is no mean, who has one."""
        if mean is None:
            who = "" if reached is None else f"{reached} of {len(self.images)} images"
            return [who, ABSENT, ABSENT, ABSENT]
        return [
            f"{mean.bpp:.4f}",
            f"{mean.psnr:.2f}",
            f"{mean.ms_ssim:.4f}",
            f"{decibels(mean.ms_ssim):.2f}",
        ]


def operating_points(codec: str, sweeps: Sequence[ImageSweep]) -> list[OperatingPoint]:
    """Sum up our rate control over a set, for every target."""
    found = []
    for rows in zip(*(sweep.exact for sweep in sweeps), strict=True):
        points = [row.point for row in rows]
        target = rows[0].target_bpp
        found.append(
            OperatingPoint(
                codec=codec,
                target_bpp=target,
                mean=mean_of(points),
                met=sum(row.met for row in rows),
                ratio=spread([point.bpp / target for point in points]),
                probes=spread([row.probes for row in rows]),
            )
        )
    return found


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Find the lowest, the median and the highest."""
    return float(np.min(values)), float(np.median(values)), float(np.max(values))


def rounded(value: object) -> object:
    """Make what goes into JSON, with six significant digits in every float."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def _at_rate(codec: str, sweeps: Sequence[ImageSweep]) -> AtRate:
    real = [
        row.point
        for sweep in sweeps
        for row in sweep.exact
        if row.target_bpp == HEADLINE and row.point.bpp <= HEADLINE
    ]
    between = [point for sweep in sweeps if (point := interpolated(sweep.points, HEADLINE)) is not None]
    return AtRate(
        codec=codec,
        real=mean_of(real) if len(real) == len(sweeps) else None,
        reached=len(real),
        interpolated=mean_of(between) if len(between) == len(sweeps) else None,
    )


def _judge_cells(mean: Mean | None, judges: Sequence[Judge]) -> list[str]:
    scores = {} if mean is None else mean.scores
    return [f"{scores[judge]:.{DECIMALS.get(judge, 4)}f}" if judge in scores else ABSENT for judge in judges]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table; the first column is left-aligned, the others right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

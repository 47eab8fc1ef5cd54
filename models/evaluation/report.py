"""What an evaluation found: as data, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.evaluation.bd_rate import BDRate, bd_rate
from models.evaluation.curves import METRICS, Curve, Mean, Metric, curve_of, decibels, interpolated, mean_of
from models.evaluation.points import Point

HEADLINE = 0.15  # bits per pixel at which CLIC compared codecs, and at which the tables do
BD_RATES = (0.05, 0.8)  # bits per pixel between which BD-rates are taken
METRIC_NAMES: dict[Metric, str] = {"psnr": "PSNR", "ms-ssim": "MS-SSIM", "ssimulacra2": "SSIMULACRA2", "vmaf": "VMAF NEG"}


@dataclass(frozen=True, slots=True)
class Exact:
    """One image at a rate asked for.

    Attributes:
        target_bpp: bits per pixel asked for.
        point: the largest stream within it, or the nearest there is.
        met: whether rate control (or the search over an anchor's qualities) calls the rate met.
        probes: rate-control probes that it took.
    """

    target_bpp: float
    point: Point
    met: bool
    probes: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """One image through one codec: over the codec's settings, and at exact rates."""

    points: tuple[Point, ...]
    exact: tuple[Exact, ...]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Sweep:
        """From JSON."""
        exact = (Exact(**{**point, "point": Point(**point["point"])}) for point in row["exact"])
        return cls(tuple(Point(**point) for point in row["points"]), tuple(exact))


@dataclass(frozen=True, slots=True)
class AtRate:
    """A codec over the set at the headline rate.

    Attributes:
        codec: its name.
        real: means of the largest real streams within the rate; None unless every image has one.
        reached: how many images have one.
        interpolated: means of per-image interpolations at exactly the rate; None unless every image's sweep spans it.
    """

    codec: str
    real: Mean | None
    reached: int
    interpolated: Mean | None


@dataclass(frozen=True, slots=True)
class Operating:
    """Our rate control over the set at one target. `ratio` and `probes` are (lowest, median, highest); ratio is achieved / target."""

    codec: str
    target_bpp: float
    mean: Mean
    met: int
    ratio: tuple[float, float, float]
    probes: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A BD-rate; None where the two curves share no quality within the rates."""

    codec: str
    anchor: str
    metric: Metric
    bd: BDRate | None

    @classmethod
    def of(cls, curve: Curve, anchor: Curve, metric: Metric, *, rates: tuple[float, float] = BD_RATES) -> Comparison:
        """Of two curves, over what both reach at these bits per pixel."""
        try:
            bd = bd_rate(curve.rate_quality(metric), anchor.rate_quality(metric), rates=rates)
        except ValueError:
            bd = None
        return cls(curve.codec, anchor.codec, metric, bd)

    def cell(self) -> str:
        """For tables."""
        return "–" if self.bd is None else f"{self.bd.percent:+.1f} % ({self.bd.low:.1f}–{self.bd.high:.1f})"


@dataclass(frozen=True, slots=True)
class Report:
    """An evaluation. `ours` names our own codecs among the curves."""

    name: str
    images: tuple[str, ...]
    pixels: int
    versions: dict[str, str]
    curves: tuple[Curve, ...]
    at_rate: tuple[AtRate, ...]
    operating: tuple[Operating, ...]
    comparisons: tuple[Comparison, ...]
    ours: tuple[str, ...]

    @classmethod
    def of(
        cls,
        name: str,
        images: Sequence[str],
        pixels: int,
        versions: Mapping[str, str],
        ours: Mapping[str, Sequence[Sweep]],
        theirs: Mapping[str, Sequence[Sweep]],
    ) -> Report:
        """Everything that follows from the sweeps, one per image and codec, ours and the anchors'."""
        everyone = {**ours, **theirs}
        curves = {codec: curve_of(codec, [sweep.points for sweep in sweeps]) for codec, sweeps in everyone.items()}
        return cls(
            name=name,
            images=tuple(images),
            pixels=pixels,
            versions=dict(versions),
            curves=tuple(curves.values()),
            at_rate=tuple(_at_rate(codec, sweeps) for codec, sweeps in everyone.items()),
            operating=tuple(point for codec, sweeps in ours.items() for point in operating_points(codec, sweeps)),
            comparisons=tuple(
                Comparison.of(curves[codec], curves[anchor], metric) for metric in METRICS for codec in ours for anchor in theirs
            ),
            ours=tuple(ours),
        )

    def json(self) -> str:
        """All of it, six significant digits."""
        return json.dumps(rounded(asdict(self)), separators=(",", ":")) + "\n"

    def markdown(self) -> str:
        """Three tables: at the headline rate, our rate control, BD-rates."""
        parts = [
            f"# {self.name}: {len(self.images)} images, {self.pixels / 1e6:.1f} megapixels",
            "Real files, means over the images, one metric code for all. MS-SSIM in dB is -10 log10(1 - mean MS-SSIM). "
            "No codec here was trained or tuned for SSIMULACRA2 or VMAF NEG, which are taken at some settings only.",
            f"## At {HEADLINE} bits per pixel",
            "*Real*: per image the largest file within the rate. *Interpolated*: per image linear in ln(rate) between the two nearest "
            "settings, at exactly the rate, as if quality scales were continuous.",
            _table(
                ["codec", "bpp", "PSNR", "MS-SSIM", "dB", "PSNR interpolated", "MS-SSIM interpolated", "dB", "SSIMULACRA2", "VMAF NEG"],
                [
                    [
                        row.codec,
                        *self._cells(row.real, row.reached),
                        *self._cells(row.interpolated)[1:],
                        *_perceptual_cells(row.interpolated),
                    ]
                    for row in self.at_rate
                ],
            ),
        ]
        if self.operating:
            parts += [
                "## Our rate control",
                "Achieved / target and probes: lowest, median, highest over the images.",
                _table(
                    ["codec", "target bpp", "bpp", "achieved / target", "met", "probes", "PSNR", "MS-SSIM", "dB"],
                    [self._operating_row(row) for row in self.operating],
                ),
                "## BD-rate",
                "Bits saved (negative) or lost at equal quality; PCHIP on ln(rate) between "
                f"{BD_RATES[0]} and {BD_RATES[1]} bits per pixel. In brackets the qualities (PSNR and MS-SSIM in dB) "
                "common to both codecs there, over which the mean is taken.",
                *(self._bd_table(metric) for metric in METRICS if any(row.bd for row in self.comparisons if row.metric == metric)),
            ]
        parts.append("Versions: " + "; ".join(f"{codec} {version}" for codec, version in self.versions.items()) + ".")
        return "\n\n".join(parts) + "\n"

    def _cells(self, mean: Mean | None, reached: int | None = None) -> list[str]:
        if mean is None:
            return [f"{reached} of {len(self.images)} images" if reached is not None else "", "–", "–", "–"]
        return [f"{mean.bpp:.4f}", f"{mean.psnr:.2f}", f"{mean.ms_ssim:.4f}", f"{decibels(mean.ms_ssim):.2f}"]

    def _operating_row(self, row: Operating) -> list[str]:
        bpp, *quality = self._cells(row.mean)
        ratio = " / ".join(f"{value:.4f}" for value in row.ratio)
        probes = " / ".join(f"{value:g}" for value in row.probes)
        return [row.codec, f"{row.target_bpp:g}", bpp, ratio, f"{row.met} of {len(self.images)}", probes, *quality]

    def _bd_table(self, metric: Metric) -> str:
        rows = [row for row in self.comparisons if row.metric == metric]
        codecs = list(dict.fromkeys(row.codec for row in rows))
        cells = {(row.anchor, row.codec): row.cell() for row in rows}
        anchors = dict.fromkeys(row.anchor for row in rows)
        title = f"{METRIC_NAMES[metric]}, against"
        return _table([title, *codecs], [[anchor, *(cells[anchor, codec] for codec in codecs)] for anchor in anchors])


def operating_points(codec: str, sweeps: Sequence[Sweep]) -> list[Operating]:
    """Rate control over a set, per target."""
    found = []
    for rows in zip(*(sweep.exact for sweep in sweeps), strict=True):
        points = [row.point for row in rows]
        target = rows[0].target_bpp
        found.append(
            Operating(
                codec=codec,
                target_bpp=target,
                mean=mean_of(points, setting=float(np.mean([point.setting for point in points]))),
                met=sum(row.met for row in rows),
                ratio=spread([point.bpp / target for point in points]),
                probes=spread([row.probes for row in rows]),
            )
        )
    return found


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Lowest, median, highest."""
    return float(np.min(values)), float(np.median(values)), float(np.max(values))


def _at_rate(codec: str, sweeps: Sequence[Sweep]) -> AtRate:
    real = [row.point for sweep in sweeps for row in sweep.exact if row.target_bpp == HEADLINE and row.point.bpp <= HEADLINE]
    between = [point for sweep in sweeps if (point := interpolated(sweep.points, HEADLINE)) is not None]
    whole = len(sweeps)
    return AtRate(
        codec=codec,
        real=mean_of(real, setting=float(np.mean([point.setting for point in real]))) if len(real) == whole else None,
        reached=len(real),
        interpolated=mean_of(between, setting=float(np.mean([point.setting for point in between]))) if len(between) == whole else None,
    )


def _perceptual_cells(mean: Mean | None) -> list[str]:
    values = (None, None) if mean is None else (mean.ssimulacra2, mean.vmaf)
    return ["–" if value is None else f"{value:.1f}" for value in values]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rounded(value: object) -> object:
    """What goes into JSON, with six significant digits in every float."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value

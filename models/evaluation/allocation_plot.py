"""What a shared budget did: the bytes and the quality of every picture, on the curve that was measured of it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from models.evaluation.curves import decibels
from models.evaluation.plots import AXIS_NAMES, GREY, OURS
from models.rate_control import Measured, Metric
from models.rate_control.allocation import psnr_of

MOST_CURVES = 60  # more of them are a grey carpet


def plot(sweeps: Sequence[Sequence[Measured]], chosen: Sequence[Measured], metric: Metric) -> Figure:
    """Quality in dB against bytes: a thin line for each picture's sweep, a dot for the stream that it got."""
    figure = Figure(figsize=(8.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for sweep in sweeps[:MOST_CURVES]:
        axes.plot([point.size for point in sweep], [_quality(point, metric) for point in sweep], color=GREY, linewidth=0.7, alpha=0.7)
    axes.plot(
        [point.size for point in chosen], [_quality(point, metric) for point in chosen], "o", color=OURS[0], markersize=5, label="streams"
    )
    axes.set(xscale="log", xlabel="bytes", ylabel=AXIS_NAMES[metric])
    axes.set_title(f"{len(chosen)} pictures, {sum(point.size for point in chosen)} bytes", loc="left", fontsize=11)
    axes.grid(color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _quality(point: Measured, metric: Metric) -> float:
    return min(psnr_of(point.mse), 99.0) if metric == "psnr" else decibels(point.ms_ssim)

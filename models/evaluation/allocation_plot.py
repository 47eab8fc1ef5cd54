"""Plot of a shared budget: the bytes and the quality of every picture, on its measured curve."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from models.evaluation.curves import decibels
from models.evaluation.plots import AXIS_NAMES, GREY, OUR_COLOURS, new_axes
from models.evaluation.points import PIXEL_EXACT_PSNR
from models.rate_control import Measured, Metric
from models.rate_control.allocation import psnr_of

MOST_CURVES = 60  # more of them would hide the dots


def plot(sweeps: Sequence[Sequence[Measured]], chosen: Sequence[Measured], metric: Metric) -> Figure:
    """Draw quality in dB against bytes.

    Args:
        sweeps: one picture each, drawn as thin lines; at most MOST_CURVES are.
        chosen: the streams that the pictures got, drawn as dots.
        metric: that the budget was shared by.
    """
    size = sum(point.size for point in chosen)
    figure, axes = new_axes(f"{len(chosen)} pictures, {size} bytes")
    for sweep in sweeps[:MOST_CURVES]:
        axes.plot(*_line(sweep, metric), color=GREY, linewidth=0.7, alpha=0.7)
    axes.plot(*_line(chosen, metric), "o", color=OUR_COLOURS[0], markersize=5)
    axes.set(xscale="log", xlabel="bytes", ylabel=AXIS_NAMES[metric])
    return figure


def _line(points: Sequence[Measured], metric: Metric) -> tuple[list[int], list[float]]:
    return [point.size for point in points], [_quality(point, metric) for point in points]


def _quality(point: Measured, metric: Metric) -> float:
    if metric == "psnr":
        return min(psnr_of(point.mse), PIXEL_EXACT_PSNR)
    return decibels(point.ms_ssim)

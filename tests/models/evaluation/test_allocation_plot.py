"""The plot of a shared budget has a line for every picture, and a dot for what it got."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.lines import Line2D

from models.evaluation.allocation_plot import MOST_CURVES, plot
from models.evaluation.points import PIXEL_EXACT_PSNR
from models.rate_control import Measured

SWEEP = [Measured(100, 1e-2, 0.9), Measured(400, 1e-3, 0.99), Measured(900, 0.0, 1.0)]


def points(line: Line2D) -> tuple[list[float], list[float]]:
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def test_lines_and_dots() -> None:
    figure = plot([SWEEP, SWEEP[:2]], [SWEEP[1], SWEEP[0]], "ms-ssim")
    first, second, dots = figure.axes[0].lines
    assert points(first)[0] == [100, 400, 900]
    assert points(second)[0] == [100, 400]
    assert points(dots)[0] == [400, 100]
    assert points(dots)[1] == pytest.approx([20, 10])
    assert figure.axes[0].get_title(loc="left") == "2 pictures, 500 bytes"


def test_a_flawless_picture_has_a_finite_psnr() -> None:
    line, _ = plot([SWEEP], SWEEP, "psnr").axes[0].lines
    assert points(line)[1] == pytest.approx([20, 30, PIXEL_EXACT_PSNR])


def test_so_many_curves_and_no_more() -> None:
    lines = plot([SWEEP] * (MOST_CURVES + 1), SWEEP, "psnr").axes[0].lines
    assert len(lines) == MOST_CURVES + 1  # with the dots

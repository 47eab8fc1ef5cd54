"""Which parts of a picture are text or drawn, and not photographed.

A picture is looked at in cells of 64x64 pixels. Text and interfaces have few colours, steep edges
and nothing in between; photographs have soft gradients nearly everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.grid import HYPER_PIXELS as CELL
from models.overlay.section import Cells, grid

# Differences of luma
STILL = 1  # to a neighbour, at most: flat
SOFT = (3, 24)  # to a neighbour: photographs are full of them
STEEP = 56  # to a neighbour, or over two pixels: an edge of a letter, sharp or smoothed
QUIET = 8  # at most, on either side of an edge: it is drawn
THIN = 40  # at least, of a stroke to both of its sides
ALIKE = 12  # at most, of the two sides of a stroke

BINS = 32  # of the histogram of luma
USED = 2  # pixels in a bin, at least, that is in use
REACH = 2  # pixels that an edge or a stroke is seen in, on either side

# Log-odds of text, at least
SURE = 3.5  # of a cell
BOTH = 1.7  # of two cells beside each other, since words lie across
NEAR = 0.0  # of a cell beside one of text, since a word seldom ends where a cell does
FLAT = 0.95  # share of flat pixels, at least, of a cell where nothing is

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Tells text by a cell's features and their square roots.

    Attributes:
        weight: of three hidden units (14, 3).
        bias: theirs (3,).
        out: weights of their hyperbolic tangents (3,).
        shift: what is added to these.
    """

    weight: Floats
    bias: Floats
    out: Floats
    shift: float

    def odds(self, described: Floats) -> Floats:
        """Compute the log-odds (...) of text in cells of these features (..., 7)."""
        x = np.concatenate([described, np.sqrt(described)], -1)
        odds: Floats = np.tanh(x @ self.weight + self.bias) @ self.out + np.float32(self.shift)
        return odds


# Fitted by `models.training.cells` to a thousand training pictures.
PROBE = Probe(
    weight=np.array(
        [
            (-0.98, 1.90, 1.05),
            (-2.03, -1.83, 7.86),
            (-18.44, 9.45, -1.16),
            (12.16, -9.57, 2.94),
            (0.28, 9.35, 1.09),
            (9.93, -0.95, -7.86),
            (-3.01, -3.45, 4.69),
            (-0.68, 2.53, 0.65),
            (-0.46, 5.02, -7.43),
            (-8.75, 4.09, -4.19),
            (14.12, 0.60, 1.89),
            (-14.62, 3.06, 7.04),
            (-7.54, 7.02, 7.70),
            (4.28, 3.45, -4.25),
        ],
        np.float32,
    ),
    bias=np.array([0.95, -5.49, -1.54], np.float32),
    out=np.array([-3.88, 2.96, 3.66], np.float32),
    shift=1.42,
)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a picture is made of, cell by cell.

    Attributes:
        text: cells with text or drawing, bool (rows, columns).
        flat: other cells where nothing is, the same.
    """

    text: Cells
    flat: Cells

    @property
    def photographed(self) -> float:
        """Share of the cells that are neither, [0, 1]."""
        return 1 - float((self.text | self.flat).mean())


def content(rgb: NDArray[np.uint8]) -> Content:
    """Tell text, flat areas and the rest of a picture (H, W, 3) apart."""
    described = features(rgb)
    odds = PROBE.odds(described)
    sure = odds >= SURE
    both = (odds[:, 1:] >= BOTH) & (odds[:, :-1] >= BOTH)
    sure[:, 1:] |= both
    sure[:, :-1] |= both
    text = _grown(sure, odds >= NEAR)
    return Content(text, (described[..., 0] >= FLAT) & ~text)


def _grown(sure: Cells, near: Cells) -> Cells:
    """Add cells of `near` that touch those of text, and those that touch them, and so on."""
    text = sure
    while True:
        padded = np.pad(text, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        grown = text | near & (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:])
        if np.array_equal(grown, text):
            return text
        text = grown


def features(rgb: NDArray[np.uint8]) -> Floats:
    """Describe every cell of a picture (H, W, 3): (rows, columns, 7), each in [0, 1].

    They are the shares of pixels that are flat, soft and steep, with an edge, with a drawn edge and
    in a thin stroke, and the share of the bins of luma that are in use.
    """
    rows, columns = grid(*rgb.shape[:2])
    luma = _luma(rgb)
    return np.stack([_of_row(luma[row * CELL :][: CELL + 2 * REACH], columns) for row in range(rows)])


def _of_row(luma: Plane, columns: int) -> Floats:
    """Describe a row of cells, whose luma has REACH pixels more on all sides."""
    step: Plane = np.zeros((CELL, columns * CELL), np.uint8)
    jumps, drawn, thin = (np.zeros(step.shape, np.bool_) for _ in range(3))
    for axis in (0, 1):
        at = [_shifted(luma, axis, by) for by in range(-REACH, REACH + 1)]
        np.maximum(step, _distance(at[2], at[3]), out=step)
        jump = _distance(at[1], at[3]) >= STEEP
        jumps |= jump
        drawn |= jump & (_distance(at[0], at[1]) <= QUIET) & (_distance(at[3], at[4]) <= QUIET)
        ridge = np.minimum(_distance(at[2], at[0]), _distance(at[2], at[4])) >= THIN
        thin |= ridge & (_distance(at[0], at[4]) <= ALIKE)
    masks = (step <= STILL, (step >= SOFT[0]) & (step <= SOFT[1]), step >= STEEP, jumps, drawn, thin)
    shares = [_share(mask, columns) for mask in masks]
    return np.stack([*shares, _used(luma[REACH:-REACH, REACH:-REACH], columns)], -1).astype(np.float32)


def _luma(rgb: NDArray[np.uint8]) -> Plane:
    """Compute luma, padded to whole cells and by REACH on all sides with what is at the border."""
    height, width = rgb.shape[:2]
    weighted = rgb[..., 0] * np.uint16(54) + rgb[..., 1] * np.uint16(183) + rgb[..., 2] * np.uint16(19)
    luma = (weighted >> 8).astype(np.uint8)
    return np.pad(luma, [(REACH, -side % CELL + REACH) for side in (height, width)], mode="edge")


def _shifted(luma: Plane, axis: int, by: int) -> Plane:
    """Cut the pixels of a row of cells, moved along an axis."""
    moved = [slice(REACH, -REACH)] * 2
    moved[axis] = slice(REACH + by, luma.shape[axis] - REACH + by)
    return luma[moved[0], moved[1]]


def _distance(a: Plane, b: Plane) -> Plane:
    return np.maximum(a, b) - np.minimum(a, b)


def _share(mask: NDArray[np.bool_], columns: int) -> NDArray[np.float64]:
    """Count what is set in each cell of a row, as shares (columns)."""
    in_column = mask.view(np.uint8).sum(0, dtype=np.uint8)  # at most CELL
    return in_column.reshape(columns, CELL).sum(1, dtype=np.int32) / CELL**2


def _used(luma: Plane, columns: int) -> NDArray[np.float64]:
    """Share of the bins of luma that each cell of a row has pixels in (columns)."""
    bins = (luma // (256 // BINS)).reshape(CELL, columns, CELL)
    cell = np.arange(columns, dtype=np.int32).reshape(1, columns, 1) * BINS
    counts = np.bincount((cell + bins).ravel(), minlength=columns * BINS)
    used: NDArray[np.float64] = (counts.reshape(columns, BINS) > USED).mean(-1)
    return used

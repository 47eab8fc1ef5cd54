"""Which parts of a picture are text or drawn, and not photographed.

A picture is looked at in cells of 32x64 pixels, as lines of text are wide. Text and interfaces have
few colours, steep edges and nothing in between; photographs have soft gradients nearly everywhere.
In cells of text, and beside them, the blocks of 16x16 pixels are found that ink is in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.grid import latent_size
from models.overlay.section import BLOCK, Blocks

HIGH, WIDE = 32, 64  # pixels of a cell

# Differences of luma
STILL = 1  # to a neighbour, at most: flat
SOFT = (3, 24)  # to a neighbour: photographs are full of them
STEEP = 56  # to a neighbour, or over two pixels: an edge of a letter, sharp or smoothed
QUIET = 8  # at most, on either side of an edge: it is drawn
THIN = 40  # at least, of a stroke to both of its sides
ALIKE = 12  # at most, of the two sides of a stroke

BINS = 32  # of the histogram of luma
USED = 1  # pixels in a bin, more than, that is in use
REACH = 2  # pixels that an edge or a stroke is seen in, on either side

# Log-odds of text, at least
SURE = 3.7  # of cells beside each other that all have some, summed, since words lie across
SOME = 0.5  # of each of them
NEAR = 0.0  # of a cell beside one of text, since a word seldom ends where a cell does
FLAT = 0.95  # share of flat pixels, at least, of a cell where nothing is

# Pixels of ink in a block, at least
INKED = 10  # in a cell of text
INKED_BESIDE = 40  # in a cell beside one

Plane = NDArray[np.uint8]
Cells = NDArray[np.bool_]
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
            (-2.18, 1.32, 0.22),
            (-1.18, -1.05, 7.78),
            (-16.03, 3.49, 2.18),
            (11.05, -5.78, -0.15),
            (-0.86, -4.68, -3.67),
            (8.57, 24.94, -3.35),
            (-2.56, -2.17, 4.70),
            (0.28, 3.38, 1.81),
            (-1.95, 4.54, -7.46),
            (-7.32, 2.72, -2.95),
            (11.19, 1.58, 2.51),
            (-11.32, 4.28, 9.56),
            (-7.08, 1.92, 4.60),
            (4.25, 2.40, -5.16),
        ],
        np.float32,
    ),
    bias=np.array([1.23, -5.49, -1.4], np.float32),
    out=np.array([-3.56, 3.19, 3.87], np.float32),
    shift=1.0,
)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a picture is made of, cell by cell.

    Attributes:
        text: cells with text or drawing, bool (rows, columns).
        flat: other cells where nothing is, the same.
        ink: blocks of the text, as many as y has elements, bool (2 rows, 4 columns) at most.
    """

    text: Cells
    flat: Cells
    ink: Blocks

    @property
    def photographed(self) -> float:
        """Share of the cells that are neither, [0, 1]."""
        return 1 - float((self.text | self.flat).mean())


def content(rgb: NDArray[np.uint8]) -> Content:
    """Tell text, flat areas and the rest of a picture (H, W, 3) apart."""
    described, ink = look(rgb)
    odds = PROBE.odds(described)
    text = _grown(_summed(np.where(odds >= SOME, odds, 0)) >= SURE, odds >= NEAR)
    height, width = latent_size(*rgb.shape[:2])
    return Content(text, (described[..., 0] >= FLAT) & ~text, _inked(text, ink)[:height, :width])


def _summed(odds: Floats) -> Floats:
    """Sum the log-odds of each cell and of those beside it, up to where there are none."""
    before, after = np.zeros_like(odds), np.zeros_like(odds)
    columns = range(odds.shape[1])
    for sums, order in ((before, columns), (after, reversed(columns))):
        total = np.zeros_like(odds[:, 0])
        for column in order:
            total = np.where(odds[:, column] > 0, total + odds[:, column], 0)
            sums[:, column] = total
    return before + after - odds


def _inked(text: Cells, ink: NDArray[np.int32]) -> Blocks:
    """Choose the blocks of text: inked ones in its cells, and in cells beside it, as far as two
    across, those that hang together with them.
    """
    around = _widened(text)
    around |= np.pad(around, ((0, 0), (1, 1)))[:, 2:] | np.pad(around, ((0, 0), (1, 1)))[:, :-2]
    within, beside = (cells.repeat(HIGH // BLOCK, 0).repeat(WIDE // BLOCK, 1) for cells in (text, around))
    return _grown(within & (ink >= INKED), beside & (ink >= INKED_BESIDE))


def _grown(sure: Cells, near: Cells) -> Cells:
    """Add cells of `near` that touch those of text, and those that touch them, and so on."""
    text = sure
    while True:
        grown = text | near & _widened(text)
        if np.array_equal(grown, text):
            return text
        text = grown


def _widened(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the eight neighbours too."""
    padded = np.pad(marked, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def features(rgb: NDArray[np.uint8]) -> Floats:
    """Describe every cell of a picture (H, W, 3): (rows, columns, 7), each in [0, 1].

    See `look`.
    """
    return look(rgb)[0]


def look(rgb: NDArray[np.uint8]) -> tuple[Floats, NDArray[np.int32]]:
    """Describe every cell of a picture (H, W, 3): (rows, columns, 7), each in [0, 1]; and count the
    pixels of ink in every block (2 rows, 4 columns): edges of letters, and thin strokes.

    Cells are described by the shares of pixels that are flat, soft and steep, with an edge, with a
    drawn edge and in a thin stroke, and the share of the bins of luma that are in use.
    """
    luma = _luma(rgb)
    rows, columns = luma.shape[0] // HIGH, luma.shape[1] // WIDE
    seen = [_of_row(luma[row * HIGH :][: HIGH + 2 * REACH], columns) for row in range(rows)]
    return np.stack([described for described, _ in seen]), np.concatenate([ink for _, ink in seen])


def _of_row(luma: Plane, columns: int) -> tuple[Floats, NDArray[np.int32]]:
    """Look at a row of cells, whose luma has REACH pixels more on all sides."""
    step: Plane = np.zeros((HIGH, columns * WIDE), np.uint8)
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
    shares = [_counts(mask, HIGH, WIDE)[0] / (HIGH * WIDE) for mask in masks]
    used = _used(luma[REACH:-REACH, REACH:-REACH], columns)
    return np.stack([*shares, used], -1).astype(np.float32), _counts(jumps | thin, BLOCK, BLOCK)


def _luma(rgb: NDArray[np.uint8]) -> Plane:
    """Compute luma, padded to whole cells and by REACH on all sides with what is at the border."""
    height, width = rgb.shape[:2]
    weighted = rgb[..., 0] * np.uint16(54) + rgb[..., 1] * np.uint16(183) + rgb[..., 2] * np.uint16(19)
    luma = (weighted >> 8).astype(np.uint8)
    margins = [(REACH, -side % of + REACH) for side, of in ((height, HIGH), (width, WIDE))]
    return np.pad(luma, margins, mode="edge")


def _shifted(luma: Plane, axis: int, by: int) -> Plane:
    """Cut the pixels of a row of cells, moved along an axis."""
    moved = [slice(REACH, -REACH)] * 2
    moved[axis] = slice(REACH + by, luma.shape[axis] - REACH + by)
    return luma[moved[0], moved[1]]


def _distance(a: Plane, b: Plane) -> Plane:
    return np.maximum(a, b) - np.minimum(a, b)


def _counts(mask: NDArray[np.bool_], high: int, wide: int) -> NDArray[np.int32]:
    """Count what is set in rectangles, (rows, columns)."""
    height, width = mask.shape
    down = mask.view(np.uint8).reshape(height // high, high, width).sum(1, dtype=np.uint8)
    counts: NDArray[np.int32] = down.reshape(height // high, width // wide, wide).sum(2, dtype=np.int32)
    return counts


def _used(luma: Plane, columns: int) -> NDArray[np.float64]:
    """Share of the bins of luma that each cell of a row has pixels in (columns)."""
    bins = (luma // (256 // BINS)).reshape(HIGH, columns, WIDE)
    cell = np.arange(columns, dtype=np.int32).reshape(1, columns, 1) * BINS
    counts = np.bincount((cell + bins).ravel(), minlength=columns * BINS)
    used: NDArray[np.float64] = (counts.reshape(columns, BINS) > USED).mean(-1)
    return used

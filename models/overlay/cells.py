"""Which parts of a picture are text or drawn, and not photographed.

A picture is looked at in cells of 16x64 pixels, two of them at a time, one above the other, as
lines of text are wide. Text and interfaces have few colours, steep edges and nothing in between;
photographs have soft gradients nearly everywhere. In cells of text, and beside them, the blocks of
16x16 pixels are found that ink is in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.grid import latent_size
from models.overlay.section import BLOCK, Blocks

HIGH, WIDE = BLOCK, 64  # pixels of a cell

# Differences of luma
STILL = 1  # to a neighbour, at most: flat
SOFT = (3, 24)  # to a neighbour: photographs are full of them
STEEP = 56  # to a neighbour, or over two pixels: an edge of a letter, sharp or smoothed
QUIET = 8  # at most, on either side of an edge: it is drawn
THIN = 40  # at least, of a stroke to both of its sides
ALIKE = 12  # at most, of the two sides of a stroke

BINS = 32  # of the histogram of luma
USED = 1  # pixels in a bin, more than, that is in use
BORDER = 3  # pixels that are not looked at
REACH = 2  # pixels that an edge or a stroke is seen in, on either side

# Log-odds of text in a pair of cells, at least
SURE = 6.5  # of pairs beside each other that all have some, summed, since words lie across
SOME = 0.5  # of each of them
NEAR = 0.0  # of a pair beside one of text, since a word seldom ends where a cell does
FLAT = 0.95  # share of flat pixels, at least, of a cell where nothing is

MOST_STEPS = 16  # that text grows by

# Pixels of ink in a block, at least
INKED = 10  # in a cell of text
INKED_BESIDE = 40  # in a cell beside one

# A line of text over a photograph has the ground's features, but ink in a row of blocks and none
# above and below. Of held-out training photographs 2 % have such a row.
LINE_INK = 96  # pixels of ink in two blocks, one above the other, at least
LINE_BESIDE = 0.3  # of that, ink in the blocks above and below, at most
LINE_BLOCKS = 8  # across, at least

Plane = NDArray[np.uint8]
Cells = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Tells text by the features of a pair of cells and their square roots.

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
        """Compute the log-odds (...) of text in pairs of these features (..., 7)."""
        x = np.concatenate([described, np.sqrt(described)], -1)
        odds: Floats = np.tanh(x @ self.weight + self.bias) @ self.out + np.float32(self.shift)
        return odds


# Fitted by `models.training.cells` to a thousand training pictures.
PROBE = Probe(
    weight=np.array(
        [
            (-2.28, 1.32, 0.20),
            (-1.26, -1.17, 7.72),
            (-15.59, 3.43, 2.08),
            (10.68, -5.82, -0.15),
            (-0.40, -5.24, -3.65),
            (8.63, 26.18, -3.38),
            (-2.56, -2.19, 4.76),
            (0.33, 3.34, 1.79),
            (-1.92, 4.60, -7.49),
            (-7.27, 2.62, -2.95),
            (11.00, 1.50, 2.69),
            (-11.34, 4.30, 9.50),
            (-7.12, 1.58, 4.42),
            (4.31, 2.59, -5.25),
        ],
        np.float32,
    ),
    bias=np.array([1.25, -5.52, -1.33], np.float32),
    out=np.array([-3.58, 3.19, 3.86], np.float32),
    shift=1.0,
)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a picture is made of, cell by cell.

    Attributes:
        text: cells with text or drawing, bool (rows, columns).
        flat: other cells where nothing is, the same.
        ink: blocks of the text, as many as y has elements, bool (rows, 4 columns) at most.
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
    described, flat, ink = look(rgb)
    odds = PROBE.odds(described)
    pairs = _grown(_summed(np.where(odds >= SOME, odds, 0)) >= SURE, odds >= NEAR)
    text = np.zeros(flat.shape, np.bool_)
    text[: len(pairs)] |= pairs
    text[-len(pairs) :] |= pairs
    text |= _lines(ink).reshape(*text.shape, -1).any(-1)
    height, width = latent_size(*rgb.shape[:2])
    return Content(text, (flat >= FLAT) & ~text, _inked(text, ink)[:height, :width])


def _summed(odds: Floats) -> Floats:
    """Sum the log-odds of each pair and of those beside it, up to where there are none."""
    before, after = np.zeros_like(odds), np.zeros_like(odds)
    columns = range(odds.shape[1])
    for sums, order in ((before, columns), (after, reversed(columns))):
        total = np.zeros_like(odds[:, 0])
        for column in order:
            total = np.where(odds[:, column] > 0, total + odds[:, column], 0)
            sums[:, column] = total
    return before + after - odds


def _lines(ink: NDArray[np.int32]) -> Blocks:
    """Mark blocks of lines of text, by the ink in all blocks."""
    rows = np.pad(ink, ((1, 2), (0, 0)))
    inside, beside = rows[1:-2] + rows[2:-1], rows[:-3] + rows[3:]
    likely = (inside >= LINE_INK) & (beside <= LINE_BESIDE * inside)
    upper = _summed(likely.astype(np.float32)) >= LINE_BLOCKS
    return upper | np.pad(upper, ((1, 0), (0, 0)))[:-1]


def _inked(text: Cells, ink: NDArray[np.int32]) -> Blocks:
    """Choose the blocks of text: inked ones in its cells, and near them those that hang together
    with them.
    """
    within, near = (cells.repeat(WIDE // BLOCK, 1) for cells in (text, _widened(_widened(text))))
    return _grown(within & (ink >= INKED), near & (ink >= INKED_BESIDE))


def _grown(sure: Cells, near: Cells) -> Cells:
    """Add what is near and touches text, and what touches that, and so on, but not without end."""
    text = sure
    for _ in range(MOST_STEPS):
        text = text | near & _widened(text)
    return text


def _widened(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the eight neighbours too."""
    padded = np.pad(marked, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def look(rgb: NDArray[np.uint8]) -> tuple[Floats, Floats, NDArray[np.int32]]:
    """Look at a picture (H, W, 3), which has so many rows and columns of cells.

    Returns:
        features of pairs of cells (rows - 1, columns, 7), each in [0, 1]: the shares of pixels that
        are flat, soft and steep, with an edge, with a drawn edge and in a thin stroke, and the
        share of the bins of luma that are in use; of a single row of cells those of the row.
        The share of each cell that is flat (rows, columns).
        Pixels of ink in every block (rows, 4 columns): edges of letters, and thin strokes.
    """
    luma = _luma(rgb)
    rows, columns = luma.shape[0] // HIGH, luma.shape[1] // WIDE
    seen = [_of_row(luma[row * HIGH :][: HIGH + 2 * REACH], columns) for row in range(rows)]
    counts, histograms, ink = (np.stack(parts) for parts in zip(*seen, strict=True))
    pairs, both = (values[:-1] + values[1:] if rows > 1 else 2 * values for values in (counts, histograms))
    used = (both > USED).mean(-1, keepdims=True)
    described = np.concatenate([pairs / (2 * HIGH * WIDE), used], -1).astype(np.float32)
    return described, (counts[..., 0] / (HIGH * WIDE)).astype(np.float32), ink


def _of_row(luma: Plane, columns: int) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Look at a row of cells, whose luma has REACH pixels more on all sides.

    Returns:
        pixels of each kind in the cells (columns, 6), pixels in each bin of luma (columns, BINS),
        and those of ink in the blocks (4 columns).
    """
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
    kinds = (step <= STILL, (step >= SOFT[0]) & (step <= SOFT[1]), step >= STEEP, jumps, drawn, thin)
    counts = np.stack([_counts(kind, WIDE) for kind in kinds], -1)
    return counts, _histogram(luma[REACH:-REACH, REACH:-REACH], columns), _counts(jumps | thin, BLOCK)


def _luma(rgb: NDArray[np.uint8]) -> Plane:
    """Compute luma, padded to whole cells and by REACH on all sides.

    The border is left out, and what is beside it repeated: a frame of scanning is no text.
    """
    height, width = rgb.shape[:2]
    weighted = rgb[..., 0] * np.uint16(54) + rgb[..., 1] * np.uint16(183) + rgb[..., 2] * np.uint16(19)
    luma = (weighted >> 8).astype(np.uint8)
    frame = BORDER if min(height, width) > 2 * BORDER else 0
    inner = luma[frame : height - frame, frame : width - frame]
    sides = ((height, HIGH), (width, WIDE))
    return np.pad(inner, [(REACH + frame, -side % of + REACH + frame) for side, of in sides], mode="edge")


def _shifted(luma: Plane, axis: int, by: int) -> Plane:
    """Cut the pixels of a row of cells, moved along an axis."""
    moved = [slice(REACH, -REACH)] * 2
    moved[axis] = slice(REACH + by, luma.shape[axis] - REACH + by)
    return luma[moved[0], moved[1]]


def _distance(a: Plane, b: Plane) -> Plane:
    return np.maximum(a, b) - np.minimum(a, b)


def _counts(mask: NDArray[np.bool_], wide: int) -> NDArray[np.int32]:
    """Count what is set in rectangles of all rows and some columns."""
    down = mask.view(np.uint8).sum(0, dtype=np.uint8)
    counts: NDArray[np.int32] = down.reshape(-1, wide).sum(1, dtype=np.int32)
    return counts


def _histogram(luma: Plane, columns: int) -> NDArray[np.int64]:
    """Count the pixels of each bin of luma in the cells of a row (columns, BINS)."""
    bins = (luma // (256 // BINS)).reshape(HIGH, columns, WIDE)
    cell = np.arange(columns, dtype=np.int32).reshape(1, columns, 1) * BINS
    return np.bincount((cell + bins).ravel(), minlength=columns * BINS).reshape(columns, BINS)

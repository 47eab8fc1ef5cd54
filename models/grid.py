"""The grid: how pixels, latents and hyper-latents line up, and how a large picture is cut into
tiles.

Free of torch, so that processes that only code entropy need not load it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_SIDE = 16384  # pixels; the container holds no longer side [format]
STRIDE = 16  # image pixels per latent on a side
HYPER_STRIDE = 4  # latents per hyper-latent on a side
HYPER_PIXELS = STRIDE * HYPER_STRIDE

Phase = tuple[int, int]  # row and column in a cell of 2x2 latents
PASSES: tuple[tuple[Phase, ...], ...] = (((0, 0),), ((1, 1),), ((0, 1), (1, 0)))
"""Latents in the order in which they are decoded: a quincunx refined twice.

    1 3 1 3     1  every second one of every second row
    3 2 3 2     2  the middles of the squares: four neighbours of pass 1, diagonally
    1 3 1 3     3  the rest: four neighbours of passes 1 and 2, beside, above and below
    3 2 3 2
"""


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of y for an image of `height` x `width` pixels."""
    return -(-height // STRIDE), -(-width // STRIDE)


def hyper_size(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of z for `rows` x `columns` latents."""
    return -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)


# Tiles
#
# Every transform is local, so that a tile computed with its surroundings is what the whole picture
# gives there. The distance that each one sees, from its layers:
#
#     g_a       3x3 convolutions, two on either side of a skip: 3 at 1/4, 4 at 1/8, 4 at 1/16 of
#               the size: 108 pixels
#     g_s       the same numbers in the other order: 108 pixels
#     h_a       1 latent, then 1 at half their size: 3 latents
#     h_mean,   1 hyper-latent, then 1 at twice and 1 at four times their size: less than
#     h_scale   2 hyper-latents
#     context   1 latent in each of two passes: with h_mean less than 2 1/2 hyper-latents
#
# HALO covers all but the context, CONTEXT_HALO that too. Tiles begin and end on hyper-latents, so
# that one grid serves every transform; and they end where the picture ends, so that padding there
# is what it is for the whole.

HALO = 2  # hyper-latents: 8 latents, 128 pixels
CONTEXT_HALO = 3


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of a picture: rows and columns of hyper-latents, each as (first, last + 1).

    `inner` is computed, and `outer` is looked at for it. The methods answer (rows, columns) at
    `scale` samples per hyper-latent: 1 for z, 4 for y, 64 for pixels. They may reach beyond the
    picture's last sample, where slicing stops by itself.
    """

    inner_rows: tuple[int, int]
    inner_columns: tuple[int, int]
    outer_rows: tuple[int, int]
    outer_columns: tuple[int, int]

    def inner(self, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns that this tile computes."""
        return _scaled(self.inner_rows, scale), _scaled(self.inner_columns, scale)

    def outer(self, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns that it needs to see."""
        return _scaled(self.outer_rows, scale), _scaled(self.outer_columns, scale)

    def within(self, scale: int = 1) -> tuple[slice, slice]:
        """Rows and columns of `inner`, counted in `outer`."""
        rows, columns = (
            (inner[0] - outer[0], inner[1] - outer[0])
            for inner, outer in ((self.inner_rows, self.outer_rows), (self.inner_columns, self.outer_columns))
        )
        return _scaled(rows, scale), _scaled(columns, scale)


def tiles(
    rows: int, columns: int, side: int, halo: int = HALO, *, undivided: int | None = None
) -> Iterator[Tile]:
    """Cut `rows` x `columns` hyper-latents into tiles of about `side` x `side`.

    Yields a single tile while they are no more than `undivided` squared, by default `side`.
    """
    undivided = undivided or side
    side = max(rows, columns) if rows * columns <= undivided * undivided else side
    for inner_rows, outer_rows in _spans(rows, side, halo):
        for inner_columns, outer_columns in _spans(columns, side, halo):
            yield Tile(inner_rows, inner_columns, outer_rows, outer_columns)


def _spans(length: int, side: int, halo: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Equal parts of at most `side`, without and with what lies around them."""
    parts = -(-length // side)
    for part in range(parts):
        start, stop = part * length // parts, (part + 1) * length // parts
        yield (start, stop), (max(0, start - halo), min(length, stop + halo))


def _scaled(span: tuple[int, int], scale: int) -> slice:
    return slice(span[0] * scale, span[1] * scale)

"""How pixels, latents and hyper-latents line up. Free of torch, so that processes that only code entropy need not load it."""

from __future__ import annotations

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

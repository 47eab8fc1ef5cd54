"""How pixels, latents and hyper-latents line up. Free of torch, so that processes that only code entropy need not load it."""

from __future__ import annotations

STRIDE = 16  # image pixels per latent on a side
HYPER_STRIDE = 4  # latents per hyper-latent on a side
HYPER_PIXELS = STRIDE * HYPER_STRIDE


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of y for an image of `height` x `width` pixels."""
    return -(-height // STRIDE), -(-width // STRIDE)


def hyper_size(rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of z for `rows` x `columns` latents."""
    return -(-rows // HYPER_STRIDE), -(-columns // HYPER_STRIDE)

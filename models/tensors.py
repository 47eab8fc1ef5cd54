"""Pixels to tensors and back: uint8 pictures (H, W, 3) and float batches (N, 3, H, W) in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import OptionError

LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # BT.601, of R, G and B
_LUMA = np.array(LUMA_WEIGHTS, np.float32)


def check_device(name: str) -> None:
    """Raise `OptionError` unless networks can run on this device: "cpu", "cuda" or "cuda:N"."""
    try:
        torch.empty(1, device=name)
    # torch raises these for a device that is misspelt or not there.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"there is no device {name!r}: {reason}") from None


def to_batch(pictures: Sequence[NDArray[np.uint8]], device: torch.device, *, multiple: int = 1) -> Tensor:
    """Stack pixels (H, W, 3) of equal padded size into (N, 3, H', W') in [0, 1], channels last in
    memory.

    Args:
        pictures: at least one.
        device: where the batch goes.
        multiple: H' and W' are H and W rounded up to it; the right and bottom borders are repeated.
    """
    padded = [_padded(pixels, multiple) for pixels in pictures]
    return torch.from_numpy(np.stack(padded)).to(device).permute(0, 3, 1, 2).float().div_(255)


def to_pixels(batch: Tensor) -> NDArray[np.uint8]:
    """Round a float batch (N, 3, H, W), clamped to [0, 1] in place, to pixels (N, H, W, 3)."""
    pixels: NDArray[np.uint8] = (
        batch.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    )
    return pixels


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Round the luma (..., H, W) of pixels (..., H, W, 3) to whole numbers in 0..255."""
    return (pixels @ _LUMA).round()


def paste(part: NDArray[np.uint8], place: NDArray[np.uint8], *, greyscale: bool) -> None:
    """Write the pixels of a tile (h', w', 3), cut to size, into their place (h, w, 3) in a picture.

    A greyscale picture gets their luma in all three planes.
    """
    height, width, _ = place.shape
    pixels = part[:height, :width]
    place[:] = luma(pixels)[..., None] if greyscale else pixels


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """Round both sides up to a multiple."""
    return height + -height % multiple, width + -width % multiple


def _padded(pixels: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    height, width, _ = pixels.shape
    bottom, right = -height % multiple, -width % multiple
    return np.pad(pixels, ((0, bottom), (0, right), (0, 0)), mode="edge")

"""Pixels to tensors and back: nothing is lost, nothing is scaled twice, borders are repeated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.errors import OptionError
from models.tensors import check_device, luma, padded_size, to_batch, to_pixels

CPU = torch.device("cpu")


def noise(height: int, width: int, seed: int = 0) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_pixels_come_back() -> None:
    pictures = [noise(5, 7, seed) for seed in range(3)]
    batch = to_batch(pictures, CPU)
    assert batch.shape == (3, 3, 5, 7)
    assert batch.min() >= 0
    assert batch.max() <= 1
    np.testing.assert_array_equal(to_pixels(batch), np.stack(pictures))


def test_borders_are_repeated_to_a_multiple() -> None:
    pixels = noise(5, 7)
    batch = to_batch([pixels], CPU, multiple=4)
    assert batch.shape[-2:] == padded_size(5, 7, 4) == (8, 8)
    assert torch.equal(batch[..., 5:, :7], batch[..., 4:5, :7].expand(-1, -1, 3, -1))
    assert torch.equal(batch[..., 7:], batch[..., 6:7])


@pytest.mark.parametrize(("value", "pixel"), [(-0.3, 0), (0.4 / 255, 0), (0.6 / 255, 1), (1.7, 255)])
def test_pixels_are_rounded_and_clamped(value: float, pixel: int) -> None:
    assert (to_pixels(torch.full((1, 3, 1, 1), value)) == pixel).all()


def test_luma_of_grey_is_grey() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    np.testing.assert_array_equal(luma(grey)[:, 0], np.arange(256))
    assert luma(np.array([[[255, 0, 0]]], np.uint8))[0, 0] == 76


def test_a_device_that_is_not_there_is_named() -> None:
    check_device("cpu")
    for name in ("abacus", "cuda:99", ""):
        with pytest.raises(OptionError, match=f"no device '{name}'") as refused:
            check_device(name)
        assert "\n" not in str(refused.value)

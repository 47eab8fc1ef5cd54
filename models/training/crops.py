"""Training crops: photographs read once from tar shards, then cut, flipped and batched in memory."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

FLIP, TRANSPOSE, ENLARGE = 0.5, 0.2, 0.5  # probabilities; transposed photographs are rarer than mirrored ones in the world too
LARGEST = 2.5  # enlargement: what people post is larger and smoother than the training pictures, which were shrunk


def shards(folder: Path) -> list[Path]:
    """The tar files of a training folder, in a fixed order; FileNotFoundError when there is none."""
    found = sorted(folder.glob("*.tar"))
    if not found:
        raise FileNotFoundError(f"no .tar shards of training images in {folder}")
    return found


def content_hash(folder: Path) -> str:
    """SHA-256 over the bytes of all shards: the card of a model says what it was trained on."""
    digest = hashlib.sha256()
    for shard in shards(folder):
        digest.update(shard.read_bytes())
    return digest.hexdigest()


def _members(folder: Path) -> Iterator[bytes]:
    for shard in shards(folder):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.isfile() and (stored := archive.extractfile(member)) is not None:
                    yield stored.read()


def _decode(stored: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(stored)) as image:
        return np.asarray(image.convert("RGB"))


def load(folder: Path, smallest: int, *, limit: int | None = None) -> list[NDArray[np.uint8]]:
    """All pictures (H, W, 3) whose shorter side is at least `smallest` pixels; at most `limit` of them are read."""
    members = _members(folder)
    stored = [next(members) for _ in range(limit)] if limit else list(members)
    with ThreadPoolExecutor() as pool:
        return [picture for picture in pool.map(_decode, stored) if min(picture.shape[:2]) >= smallest]


class CropSampler:
    """Endless random batches of square crops.

    Args:
        pictures: uint8 arrays (H, W, 3), each at least `size` on a side.
        size: of a crop, in pixels.
        rng: the only source of randomness, so that a checkpoint can hold its state.
    """

    def __init__(self, pictures: list[NDArray[np.uint8]], size: int, rng: np.random.Generator) -> None:
        self.pictures, self.size, self.rng = pictures, size, rng

    def larger(self) -> CropSampler:
        """Crops of twice the side, from the pictures that have room for them. Raises ValueError when none has."""
        pictures = [picture for picture in self.pictures if min(picture.shape[:2]) >= 2 * self.size]
        if not pictures:
            raise ValueError(f"no picture has room for crops of {2 * self.size}x{2 * self.size}")
        return CropSampler(pictures, 2 * self.size, self.rng)

    def crop(self) -> NDArray[np.uint8]:
        """One crop (size, size, 3)."""
        picture = self.pictures[self.rng.integers(len(self.pictures))]
        size = round(self.size / self.rng.uniform(1, LARGEST)) if self.rng.random() < ENLARGE else self.size
        top, left = (int(self.rng.integers(side - size + 1)) for side in picture.shape[:2])
        crop = picture[top : top + size, left : left + size]
        if size < self.size:
            crop = np.asarray(Image.fromarray(crop).resize((self.size, self.size), Image.Resampling.BICUBIC))
        if self.rng.random() < FLIP:
            crop = crop[:, ::-1]
        if self.rng.random() < TRANSPOSE:
            crop = crop.transpose(1, 0, 2)
        return crop

    def batch(self, count: int) -> Tensor:
        """`count` crops as float (N, 3, size, size) in [0, 1], channels last."""
        crops = torch.from_numpy(np.stack([self.crop() for _ in range(count)]))
        return (crops.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=torch.channels_last)

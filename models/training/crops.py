"""Training crops: photographs read once from tar shards, then cut, flipped and batched."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.tensors import to_batch

FLIP_PROBABILITY = 0.5
TRANSPOSE_PROBABILITY = 0.2  # transposed photographs are rarer than mirrored ones in the world too
# The training pictures were shrunk; what people post is larger and smoother.
ENLARGE_PROBABILITY = 0.5
LARGEST_ENLARGEMENT = 2.5


def shards(folder: Path) -> list[Path]:
    """List the tar files of a training folder by name; FileNotFoundError when there is none."""
    found = sorted(folder.glob("*.tar"))
    if not found:
        raise FileNotFoundError(f"no .tar shards of training images in {folder}")
    return found


def content_hash(folder: Path) -> str:
    """Compute the SHA-256 of all shards' bytes, which the card of a model names its data by."""
    digest = hashlib.sha256()
    for shard in shards(folder):
        digest.update(shard.read_bytes())
    return digest.hexdigest()


def load(folder: Path, smallest: int, *, limit: int | None = None) -> list[NDArray[np.uint8]]:
    """Read the pictures (H, W, 3) of a training folder whose shorter side has enough pixels.

    Args:
        folder: holds tar shards of image files.
        smallest: pixels of the shorter side.
        limit: so many files are read, large enough or not; None for all.

    Raises:
        FileNotFoundError: no shard in the folder.
    """
    with ThreadPoolExecutor() as pool:
        pictures = pool.map(_decode, list(islice(_members(folder), limit)))
        return [picture for picture in pictures if min(picture.shape[:2]) >= smallest]


class CropSampler:
    """Endless random batches of square crops.

    Args:
        pictures: (H, W, 3), each at least `size` on a side.
        size: of a crop, in pixels.
        rng: the only source of randomness, so that a checkpoint can hold its state.
    """

    def __init__(self, pictures: list[NDArray[np.uint8]], size: int, rng: np.random.Generator) -> None:
        self.pictures = pictures
        self.size = size
        self.rng = rng

    def larger(self) -> CropSampler:
        """Sample crops of twice the side, from the pictures that have room for them.

        Raises:
            ValueError: none has.
        """
        size = 2 * self.size
        pictures = [picture for picture in self.pictures if min(picture.shape[:2]) >= size]
        if not pictures:
            raise ValueError(f"no picture has room for crops of {size}x{size}")
        return CropSampler(pictures, size, self.rng)

    def crop(self) -> NDArray[np.uint8]:
        """Cut one crop (size, size, 3); it may be enlarged, mirrored or transposed."""
        picture = self.pictures[self.rng.integers(len(self.pictures))]
        size = self.size
        if self.rng.random() < ENLARGE_PROBABILITY:
            size = round(size / self.rng.uniform(1, LARGEST_ENLARGEMENT))
        top, left = (int(self.rng.integers(side - size + 1)) for side in picture.shape[:2])
        crop = picture[top : top + size, left : left + size]
        if size < self.size:
            full = (self.size, self.size)
            crop = np.asarray(Image.fromarray(crop).resize(full, Image.Resampling.BICUBIC))
        if self.rng.random() < FLIP_PROBABILITY:
            crop = crop[:, ::-1]
        if self.rng.random() < TRANSPOSE_PROBABILITY:
            crop = crop.transpose(1, 0, 2)
        return crop

    def batch(self, count: int) -> Tensor:
        """Cut `count` crops: (N, 3, size, size) in [0, 1], channels last in memory."""
        return to_batch([self.crop() for _ in range(count)], torch.device("cpu"))


def _members(folder: Path) -> Iterator[bytes]:
    """Read the files of all shards, in order."""
    for shard in shards(folder):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.isfile() and (stored := archive.extractfile(member)) is not None:
                    yield stored.read()


def _decode(stored: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(stored)) as image:
        return np.asarray(image.convert("RGB"))

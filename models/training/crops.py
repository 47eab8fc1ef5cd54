"""Training crops: pictures read once from tar shards, then cut, enlarged, flipped and batched.

The pictures lie on the device that trains, and crops are cut there.
"""

from __future__ import annotations

import copy
import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.training.text import decorate

FLIP_PROBABILITY = 0.5
TRANSPOSE_PROBABILITY = 0.2  # transposed photographs are rarer than mirrored ones in the world too
# The training pictures were shrunk; what people post is larger and smoother.
ENLARGE_PROBABILITY = 0.5
LARGEST_ENLARGEMENT = 2.5
WRITTEN_ON = 0.12  # share of the pictures that have text, so that a tenth of the crops has


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

    Some have text written on them: the same ones in every run, since their numbers decide.

    Args:
        folder: holds tar shards of image files.
        smallest: pixels of the shorter side.
        limit: so many files are read, large enough or not; None for all.

    Raises:
        FileNotFoundError: no shard in the folder.
    """
    with ThreadPoolExecutor() as pool:
        pictures = pool.map(_read, range(1 << 31), islice(members(folder), limit))
        return [picture for picture in pictures if min(picture.shape[:2]) >= smallest]


def members(folder: Path) -> Iterator[bytes]:
    """Read the files of all shards, in order."""
    for shard in shards(folder):
        with tarfile.open(shard) as archive:
            for member in archive:
                if member.isfile() and (stored := archive.extractfile(member)) is not None:
                    yield stored.read()


class CropSampler:
    """Endless random batches of square crops.

    Args:
        pictures: (H, W, 3), each at least `size` on a side.
        size: of a crop, in pixels.
        rng: the only source of randomness, so that a checkpoint can hold its state.
        device: holds the pictures, and cuts the crops.
    """

    def __init__(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        size: int,
        rng: np.random.Generator,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        self.size = size
        self.rng = rng
        self._sides = np.array([picture.shape[:2] for picture in pictures])
        longest = self._sides.max()
        self._pictures = torch.zeros(
            len(pictures), 3, longest, longest, dtype=torch.uint8, device=device
        )  # each in the upper left corner
        for place, picture in zip(self._pictures, pictures, strict=True):
            height, width, _ = picture.shape
            place[:, :height, :width] = torch.from_numpy(np.array(picture)).permute(2, 0, 1)

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self._pictures)

    @property
    def room(self) -> int:
        """Pixels of the shortest side of all pictures."""
        return int(self._sides.min())

    def of_side(self, size: int) -> Self:
        """Sample crops of another side from the same pictures, in the same memory."""
        other = copy.copy(self)
        other.size = size
        return other

    def batch(self, count: int) -> Tensor:
        """Cut `count` crops (N, 3, size, size) in [0, 1]; some are enlarged, mirrored, transposed.

        Their values are whole 255ths. They are channels last in memory.
        """
        chosen = self.rng.integers(len(self._pictures), size=count)
        enlarged = self.rng.random(count) < ENLARGE_PROBABILITY
        factor = np.where(enlarged, self.rng.uniform(1, LARGEST_ENLARGEMENT, count), 1.0)
        cut = np.rint(self.size / factor)  # pixels of the picture that a crop shows
        corner = np.floor(self.rng.random((count, 2)) * (self._sides[chosen] - cut[:, None] + 1))
        mirrored = self.rng.random(count) < FLIP_PROBABILITY
        transposed = self.rng.random(count) < TRANSPOSE_PROBABILITY
        return self._cut(chosen, cut, corner, mirrored, transposed)

    def _cut(
        self,
        chosen: NDArray[np.int64],
        cut: NDArray[np.float64],
        corner: NDArray[np.float64],
        mirrored: NDArray[np.bool_],
        transposed: NDArray[np.bool_],
    ) -> Tensor:
        """Cut squares of `cut` pixels at `corner`, enlarged to the side of a crop."""
        longest = self._pictures.shape[-1]
        # Rows and columns of a crop in its picture, in units in which the stored square is [-1, 1].
        offset = (np.arange(self.size) + 0.5) * (cut / self.size)[:, None]
        rows, columns = (2 * (corner[:, axis, None] + offset) / longest - 1 for axis in (0, 1))
        columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
        y, x = (self._moved(places.astype(np.float32)) for places in (rows, columns))
        shape = (len(cut), self.size, self.size)
        grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1)
        grid = torch.where(self._moved(transposed)[:, None, None, None], grid.transpose(1, 2), grid)
        pictures = self._pictures[self._moved(chosen)].float()
        crops = F.grid_sample(pictures, grid, "bicubic", "border", align_corners=False)
        crops = crops.round_().clamp_(0, 255).div_(255)
        return crops.contiguous(memory_format=torch.channels_last)

    def _moved(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._pictures.device, non_blocking=True)


def _read(number: int, stored: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(stored)) as image:
        picture = np.asarray(image.convert("RGB"))
    rng = np.random.default_rng(number)
    return decorate(picture, rng) if rng.random() < WRITTEN_ON else picture

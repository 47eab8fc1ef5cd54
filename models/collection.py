"""Many pictures to one budget, with one codec; at most one picture, and what was measured of it, is in memory at a time.

curves = [Curve.of(sweep(codec, picture), metric, picture.pixels) for picture in pictures()]
allocation = allocate(curves, budget)
for stream in encode(codec, pictures(), allocation, budget): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.allocation import TOLERANCE, Allocation, Measured, next_budget
from models.alpha import encode_alpha
from models.codec import BATCH_PIXELS, Codec
from models.metrics import ms_ssim
from models.picture import Picture
from models.rate_control import Target
from models.symbols import Stream

QUALITIES = tuple(100 * step / 6 for step in range(7))  # between two of them, interpolation misses a distortion by 1 or 2 %


def sweep(codec: Codec, picture: Picture) -> list[Measured]:
    """The picture at QUALITIES, in real bytes; decoded once at each, as many at a time as make a batch."""
    alpha = encode_alpha(picture)
    measured: list[Measured] = []
    for qualities in _batches(QUALITIES, picture):
        count = len(qualities)
        quantised = codec.quantise([picture] * count, [Target(quality=quality) for quality in qualities], [alpha] * count)
        sizes = [len(codec.symbol_codec.write(one).data) for one in quantised]
        measured += compare(codec, picture, codec.reconstruct([one.symbols for one in quantised]), sizes)
    return measured


def encode(codec: Codec, pictures: Iterable[Picture], allocation: Allocation, budget: int, *, effort: int = 0) -> Iterator[Stream]:
    """The streams of an allocation, one by one; what one leaves of its share goes to those behind it."""
    made: list[int] = []
    for picture in pictures:
        target = Target(max_bytes=next_budget(allocation, made, budget), tolerance=TOLERANCE)
        (stream,) = codec.encode([picture], [target], effort=effort)
        made.append(len(stream.data))
        yield stream


@torch.inference_mode()
def compare(codec: Codec, original: Picture, decoded: Sequence[Picture], sizes: Sequence[int]) -> list[Measured]:
    """How near pictures decoded from streams of these sizes are to their original; computed on the codec's device."""
    x = _tensor(codec, [original.rgb])
    x_hat = _tensor(codec, [picture.rgb for picture in decoded])
    mse = (x_hat - x).square().mean((1, 2, 3)).tolist()
    similarity = ms_ssim(x_hat, x.expand_as(x_hat)).tolist()
    return [Measured(*row) for row in zip(sizes, mse, similarity, strict=True)]


def _batches(qualities: Sequence[float], picture: Picture) -> list[Sequence[float]]:
    count = max(1, BATCH_PIXELS // picture.pixels)
    return [qualities[start : start + count] for start in range(0, len(qualities), count)]


def _tensor(codec: Codec, pixels: Sequence[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(pixels)).to(codec.device).permute(0, 3, 1, 2).float() / 255

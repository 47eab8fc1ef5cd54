"""Many pictures to one budget, with one codec.

At most one picture, and what was measured of it, is in memory at a time.

    curves = [
        RateDistortion.of(sweep(codec, picture), metric, picture.pixels)
        for picture in pictures()
    ]
    allocation = allocate(curves, budget)
    for stream in encode(codec, pictures(), allocation, budget): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from models.bitstream.alpha import encode_alpha
from models.learned.codec import BATCH_PIXELS, LearnedCodec
from models.metrics import ms_ssim
from models.picture import Picture
from models.rate_control import MEMBER_TOLERANCE, Allocation, Measured, Target, next_budget
from models.stream import Stream
from models.tensors import to_batch

_T = TypeVar("_T")

QUALITIES = tuple(
    100 * step / 8 for step in range(9)
)  # between two of them, interpolation misses a distortion by 1 or 2 %


def sweep(codec: LearnedCodec, picture: Picture) -> list[Measured]:
    """The picture at QUALITIES, in real bytes; decoded once at each.

    It is analysed once for as many points as make a batch. On a GPU they are decoded together, too;
    on a CPU, seven decodes of a picture of Kodak size take 2.7 s one by one and 3.1 s at once,
    out of the caches, and 0.45 against 1.1 s for the comparisons.
    """
    alpha = encode_alpha(picture)
    measured: list[Measured] = []
    for qualities in _parts(QUALITIES, BATCH_PIXELS // picture.pixels):
        count = len(qualities)
        quantised = codec.quantise(
            [picture] * count, [Target(quality=quality) for quality in qualities], [alpha] * count
        )
        for part in _parts(quantised, 1 if codec.device.type == "cpu" else count):
            sizes = [len(codec.symbol_codec.write(stream).data) for stream in part]
            measured += compare(codec, picture, codec.reconstruct([stream.symbols for stream in part]), sizes)
    return measured


def encode(
    codec: LearnedCodec, pictures: Iterable[Picture], allocation: Allocation, budget: int, *, effort: int = 0
) -> Iterator[Stream]:
    """The streams of an allocation, one by one.

    What one leaves of its share goes to those behind it.
    """
    made: list[int] = []
    for picture in pictures:
        target = Target(max_bytes=next_budget(allocation, made, budget), tolerance=MEMBER_TOLERANCE)
        (stream,) = codec.encode([picture], [target], effort=effort)
        made.append(len(stream.data))
        yield stream


@torch.inference_mode()
def compare(
    codec: LearnedCodec, original: Picture, decoded: Sequence[Picture], sizes: Sequence[int]
) -> list[Measured]:
    """Measure pictures decoded from streams of these sizes against their original, on the codec's
    device.
    """
    x = to_batch([original.rgb], codec.device)
    x_hat = to_batch([picture.rgb for picture in decoded], codec.device)
    mse = (x_hat - x).square().mean((1, 2, 3)).tolist()
    similarity = ms_ssim(x_hat, x.expand_as(x_hat)).tolist()
    return [Measured(*row) for row in zip(sizes, mse, similarity, strict=True)]


def _parts(items: Sequence[_T], most: int) -> list[Sequence[_T]]:
    most = max(1, most)
    return [items[start : start + most] for start in range(0, len(items), most)]

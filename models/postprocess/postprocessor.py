"""PostProcessor: decoded pictures to better ones, in batches; knows from which codec and at which coarseness they come.

file --sources.read--> Source --+
  |                             |
  +--decoder--> Picture --------+--improve--> Picture

It comes after decoding and is no part of it: a stream only recommends it, and its weights may become better than they were when the stream
was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.errors import SourceError, WeightsError
from models.grid import tiles
from models.network.postprocess import PostTopology
from models.network.precision import placed, transform_autocast
from models.picture import Picture
from models.postprocess import model as post_model
from models.postprocess.model import PostCard, PostModel
from models.postprocess.sources import Source
from models.tensors import luma, padded_size, to_batch, to_pixels

Postprocess = Literal["auto", "on", "off"]
"""Whether a decoded picture is post-processed: as the stream recommends, if that can be done; in any case; never."""

FILES = "files"  # the weights for what other encoders made
BATCH_PIXELS = 1 << 22  # pictures of equal padded size go through the network together up to this many pixels
UNIT = 64  # pixels: tiles are made of squares of this side, and see one more of them around, which is more than the network does
TILE = 32  # units on a side, 2048 pixels: at most 0.4 GB of activations


class PostProcessor:
    """One post-processor on one device. Not thread-safe while it loads; `improve` may run on several threads.

    Args:
        model: the weights.
        card: of the model.
        device: where the network runs.
        bfloat16: run it in bfloat16 or not; None takes what the device is fast at.
        tile: side in units (64 pixels) of the tiles that a picture of more than so many squared goes through in.

    Raises:
        WeightsError: card and weights disagree.
    """

    def __init__(self, model: PostModel, card: PostCard, *, device: str = "cpu", bfloat16: bool | None = None, tile: int = TILE) -> None:
        if model.model_id != card.model_id:
            raise WeightsError(f"the weights of {card.name} have id {model.model_id}, their card says {card.model_id}")
        self.card = card
        self.device = torch.device(device)
        self._network = placed(model.network, self.device).requires_grad_(False)
        self._bfloat16 = bfloat16
        self._tile = tile

    @classmethod
    def load(cls, name: str = FILES, *, device: str = "cpu", bfloat16: bool | None = None) -> PostProcessor:
        """One of `post_model.available()`; FILES is for AVIF, JPEG and WebP. WeightsError when there is none of this name."""
        return cls(PostModel.load(post_model.weights(name)), post_model.card(name), device=device, bfloat16=bfloat16)

    @classmethod
    def find(cls, name: str, *, device: str = "cpu", bfloat16: bool | None = None) -> PostProcessor | None:
        """Like `load`, or None when there is none of this name."""
        return cls.load(name, device=device, bfloat16=bfloat16) if name in post_model.available() else None

    @property
    def name(self) -> str:
        """Of the weights."""
        return self.card.name

    @property
    def model_id(self) -> str:
        """8 hex digits."""
        return self.card.model_id

    @property
    def topology(self) -> PostTopology:
        """Sizes of the network."""
        return self._network.topology

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The size that a picture has in the network. Only pictures of equal padded size go through it together."""
        return padded_size(height, width, self.topology.fold)

    def suits(self, source: Source) -> bool:
        """Whether the network was trained for this."""
        return self.card.suits(source)

    def check(self, source: Source) -> None:
        """Raises `SourceError` for what the network was not trained for."""
        self.card.check(source)

    def __call__(self, x_hat: Tensor, source: Source) -> Tensor:
        """What `improve` does, differentiable: pictures of a suited source (N, 3, H, W), in [0, 1] but not rounded, to better ones."""
        height, width = x_hat.shape[-2:]
        padded_height, padded_width = self.padded(height, width)
        padded = F.pad(x_hat.clamp(0, 1), (0, padded_width - width, 0, padded_height - height), mode="replicate")
        return self._forward(padded, [source] * len(x_hat))[..., :height, :width]

    @torch.inference_mode()
    def improve(self, pictures: Sequence[Picture], sources: Sequence[Source]) -> list[Picture]:
        """A batch of any sizes, as their codecs gave them back (not turned, not scaled, no colours converted); in the same order.

        Alpha stays as it is. Raises `SourceError` for what the network was not trained for.
        """
        for source in sources:
            self.check(source)
        improved: dict[int, Picture] = {}
        for group in self._groups(pictures):
            improved.update(zip(group, self._improved([pictures[i] for i in group], [sources[i] for i in group]), strict=True))
        return [improved[i] for i in range(len(pictures))]

    def _groups(self, pictures: Sequence[Picture]) -> list[list[int]]:
        """Indices of equal padded sizes, in batches of at most BATCH_PIXELS; a larger picture goes alone."""
        groups: list[list[int]] = []
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, picture in enumerate(pictures):
            by_size.setdefault(self.padded(picture.height, picture.width), []).append(i)
        for (height, width), members in by_size.items():
            count = max(1, BATCH_PIXELS // (height * width))
            groups += [members[start : start + count] for start in range(0, len(members), count)]
        return groups

    def _improved(self, pictures: Sequence[Picture], sources: Sequence[Source]) -> list[Picture]:
        height, width = (max(sides) for sides in zip(*((one.height, one.width) for one in pictures), strict=True))
        results = [np.empty_like(picture.rgb) for picture in pictures]
        for tile in tiles(-(-height // UNIT), -(-width // UNIT), self._tile, halo=1):
            x_hat = to_batch([picture.rgb[tile.outer(UNIT)] for picture in pictures], self.device, multiple=self.topology.fold)
            x = self._forward(x_hat, sources)[..., *tile.within(UNIT)]
            parts = to_pixels(x)
            for picture, result, part in zip(pictures, results, parts, strict=True):
                place = result[tile.inner(UNIT)]
                part = part[: place.shape[0], : place.shape[1]]
                place[:] = luma(part)[..., None] if picture.greyscale else part
        return [Picture(rgb, picture.alpha, picture.greyscale) for picture, rgb in zip(pictures, results, strict=True)]

    def _forward(self, x_hat: Tensor, sources: Sequence[Source]) -> Tensor:
        """The network on a padded batch (N, 3, H, W), one source each."""
        kinds = self.topology.kinds
        condition = torch.stack([self._network.condition(kinds.index(one.kind), one.coarseness) for one in sources]).to(self.device)
        with transform_autocast(self.device, bfloat16=self._bfloat16):
            x: Tensor = self._network(x_hat, condition)
        return x.float()


def decide(wanted: Postprocess, *, recommended: bool, source: Source, post_processor: PostProcessor | None) -> bool:
    """Whether to post-process a picture of this source. Raises `SourceError` when it must be and cannot be."""
    if wanted == "off":
        return False
    if wanted == "auto":
        return recommended and post_processor is not None and post_processor.suits(source)
    if post_processor is None:
        raise SourceError("there is no post-processor for what made this picture")
    post_processor.check(source)
    return True

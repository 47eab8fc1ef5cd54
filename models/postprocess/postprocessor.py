"""PostProcessor: takes the artefacts of a codec out of decoded pictures, in batches.

file --sources.read--> Source --+
  |                             |
  +--decoder--> Picture --------+--improve--> Picture

It comes after decoding and is no part of it: a stream only recommends it, and its weights may
become better than they were when the stream was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models import threads
from models.errors import OptionError, SourceError, WeightsError
from models.grid import tiles
from models.network.blocks import Pause, without_pause
from models.network.postprocess import PostTopology
from models.network.precision import arranged
from models.picture import Picture
from models.postprocess import model as post_model
from models.postprocess.model import PostCard, PostModel
from models.postprocess.sources import Source
from models.progress import UNINTERRUPTED, Progress, with_pauses
from models.tensors import padded_size, paste, to_batch, to_pixels

Postprocess = Literal["auto", "on", "off"]
"""Choice of post-processing: as the stream recommends, if that can be done; in any case; never."""

FILES = "files"  # name of the weights for JPEG, WebP and AVIF
BATCH_PIXELS = 1 << 22  # in the network at a time, of pictures of equal padded size
# Tiles are made of units, squares of so many pixels on a side. Around each tile the network is
# given one more unit, which is more than it reaches.
UNIT = 64
TILE = 16  # units on a side, 1024 pixels
UNDIVIDED = 2  # tiles on a side, of a picture that is not cut yet: at most 0.4 GB of activations


class PostProcessor:
    """One post-processor on one device. Several threads may call `improve`.

    Args:
        model: the weights.
        card: of the model.
        device: where the network runs.
        bfloat16: run it in bfloat16 or not; None takes what the device is fast at.
        tile: side of a tile in units of 64 pixels; pictures of more than four go through in tiles.

    Raises:
        WeightsError: card and weights disagree.
    """

    def __init__(
        self,
        model: PostModel,
        card: PostCard,
        *,
        device: str = "cpu",
        bfloat16: bool | None = None,
        tile: int = TILE,
    ) -> None:
        if model.model_id != card.model_id:
            raise WeightsError(
                f"the weights of {card.name} have id {model.model_id}, their card says {card.model_id}"
            )
        self.card = card
        self.device = torch.device(device)
        self._network = arranged(model.network, self.device, bfloat16=bfloat16)
        self._tile = tile

    @classmethod
    def load(cls, name: str = FILES, *, device: str = "cpu", bfloat16: bool | None = None) -> PostProcessor:
        """Load one of `post_model.available()`. Raises `WeightsError`."""
        model = PostModel.load(post_model.weights(name))
        return cls(model, post_model.card(name), device=device, bfloat16=bfloat16)

    @classmethod
    def find(cls, name: str, *, device: str = "cpu", bfloat16: bool | None = None) -> PostProcessor | None:
        """Load as `load` does, or return None when there are no weights of this name."""
        if name not in post_model.available():
            return None
        return cls.load(name, device=device, bfloat16=bfloat16)

    @property
    def name(self) -> str:
        """The name of the weights."""
        return self.card.name

    @property
    def model_id(self) -> str:
        """The id of the weights, 8 hex digits."""
        return self.card.model_id

    @property
    def topology(self) -> PostTopology:
        """Sizes of the network."""
        return self._network.topology

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a picture in the network; equal ones go through together."""
        return padded_size(height, width, self.topology.fold)

    def suits(self, source: Source) -> bool:
        """Tell whether the network was trained for this source."""
        return self.card.suits(source)

    def check(self, source: Source) -> None:
        """Raise `SourceError` for a source that the network was not trained for."""
        self.card.check(source)

    def __call__(self, x_hat: Tensor, source: Source) -> Tensor:
        """Improve a batch differentiably: (N, 3, H, W) in [0, 1] to the same shape, not rounded.

        All are of one `source`, which the network must suit.
        """
        height, width = x_hat.shape[-2:]
        padded_height, padded_width = self.padded(height, width)
        margins = (0, padded_width - width, 0, padded_height - height)
        padded = F.pad(x_hat.clamp(0, 1), margins, mode="replicate")
        return self._forward(padded, [source] * len(x_hat))[..., :height, :width]

    @torch.inference_mode()
    def improve(
        self,
        pictures: Sequence[Picture],
        sources: Sequence[Source],
        progress: Progress = UNINTERRUPTED,
    ) -> list[Picture]:
        """Improve pictures of any sizes, in order. Alpha stays as it is.

        Args:
            pictures: as their codecs gave them back: not turned, not scaled, no colours converted.
            sources: of each picture.
            progress: may end the work by raising.

        Raises:
            SourceError: the network was not trained for a source.
        """
        for source in sources:
            self.check(source)
        improved: dict[int, Picture] = {}
        for group in self._groups(pictures):
            results = self._improved([pictures[i] for i in group], [sources[i] for i in group], progress)
            improved.update(zip(group, results, strict=True))
        return [improved[i] for i in range(len(pictures))]

    def _groups(self, pictures: Sequence[Picture]) -> list[list[int]]:
        """Indices of pictures to go through together, of equal padded size.

        A picture of more than BATCH_PIXELS goes alone.
        """
        groups: list[list[int]] = []
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, picture in enumerate(pictures):
            by_size.setdefault(self.padded(picture.height, picture.width), []).append(i)
        for (height, width), members in by_size.items():
            count = max(1, BATCH_PIXELS // (height * width))
            groups += [members[start : start + count] for start in range(0, len(members), count)]
        return groups

    def _improved(
        self, pictures: Sequence[Picture], sources: Sequence[Source], progress: Progress
    ) -> list[Picture]:
        """Improve pictures of equal padded size, tile by tile."""
        height = max(picture.height for picture in pictures)
        width = max(picture.width for picture in pictures)
        results = [np.empty_like(picture.rgb) for picture in pictures]

        units = -(-height // UNIT), -(-width // UNIT)
        cut = tiles(*units, self._tile, halo=1, undivided=UNDIVIDED * self._tile)
        for tile in with_pauses(cut, progress):
            outer = [picture.rgb[tile.outer(UNIT)] for picture in pictures]
            x_hat = to_batch(outer, self.device, multiple=self.topology.fold)
            with threads.worth(x_hat[:, 0].numel(), of=threads.PIXELS):
                x = self._forward(x_hat, sources, progress.pause)
            parts = to_pixels(x[..., *tile.within(UNIT)])
            for picture, result, part in zip(pictures, results, parts, strict=True):
                paste(part, result[tile.inner(UNIT)], greyscale=picture.greyscale)
        return [
            Picture(result, picture.alpha, picture.greyscale)
            for picture, result in zip(pictures, results, strict=True)
        ]

    def _forward(self, x_hat: Tensor, sources: Sequence[Source], pause: Pause = without_pause) -> Tensor:
        """Run the network on a padded batch (N, 3, H, W), of one source each."""
        kinds = self.topology.kinds
        conditions = [
            self._network.condition(kinds.index(source.kind), source.coarseness) for source in sources
        ]
        condition = torch.stack(conditions).to(self.device)
        x: Tensor = self._network(x_hat, condition, pause)
        return x


def decide(
    wanted: Postprocess, *, recommended: bool, source: Source, post_processor: PostProcessor | None
) -> bool:
    """Decide whether to post-process a picture of this source.

    Raises:
        SourceError: it must be ("on") and cannot be.
        OptionError: `wanted` is something else.
    """
    if wanted not in get_args(Postprocess):
        raise OptionError(f"postprocess is auto, on or off, not {wanted!r}")
    if wanted == "off":
        return False
    if wanted == "auto":
        return recommended and post_processor is not None and post_processor.suits(source)
    if post_processor is None:
        raise SourceError("there is no post-processor for what made this picture")
    post_processor.check(source)
    return True

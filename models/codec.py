"""Codec: pictures to streams and back, in batches. The only door that the service and the command line use.

    encode   pictures --encoder--> symbols --refiner, with effort--> better symbols --symbol codec--> container
    decode   container --symbol codec--> symbols --transforms--> pictures --post-processor, if there is one for them--> pictures

`compress` and `decompress`, for one picture, know the hybrid codec too and can choose between the two.

`encode` and `decode` are two stages: `quantise` and `reconstruct` on the device, and `SymbolCodec` on the CPU, which may be another
process's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from models.bitstream import Bitstream, CodecKind
from models.bitstream.alpha import encode_alpha
from models.choice import CodecName, check_auto, choose
from models.errors import WeightsError
from models.grid import STRIDE, latent_size
from models.hybrid.codec import HybridCodec
from models.learned.encoder import Encoder
from models.learned.model import CodecModel
from models.learned.objective import Objective
from models.learned.refinement.refiner import ITERATIONS, Proceed, Refiner, headroom, share
from models.learned.symbol_codec import SymbolCodec
from models.learned.symbols import Comparison, Quantised, Stream, Symbols
from models.learned.transforms import TILE, Transforms
from models.metrics import score
from models.picture import Picture
from models.postprocess.postprocessor import Postprocess, PostProcessor, decide
from models.postprocess.sources import Source
from models.rate_control import Target, meets
from models.rate_control.allocation import Metric
from models.weights import registry
from models.weights.card import ModelCard

BATCH_PIXELS = 1 << 22  # images of equal padded size go through the network together up to this many pixels
EFFORTS = range(len(ITERATIONS))  # of the encoder


class Codec:
    """One model on one device. Not thread-safe: give it to one thread.

    Args:
        model: weights, exact scale decoder, tables.
        card: of the model.
        device: where the transforms run.
        bfloat16: run the transforms in bfloat16 or not; None takes what the device is fast at. Streams decode alike either way.
        tile: side in hyper-latents (64 pixels) of the tiles that a picture of more than so many squared goes through in.
        post_processor: for this very model's artefacts; one that was trained for others' improves nothing.
        hybrid: the hybrid codec beside it.

    Raises:
        WeightsError: card and weights disagree, or the device's arithmetic fails the self-check.
    """

    def __init__(
        self,
        model: CodecModel,
        card: ModelCard,
        *,
        device: str = "cpu",
        bfloat16: bool | None = None,
        tile: int = TILE,
        post_processor: PostProcessor | None = None,
        hybrid: HybridCodec | None = None,
    ) -> None:
        if model.model_id != card.model_id:
            raise WeightsError(f"the weights of {card.name} have id {model.model_id}, their card says {card.model_id}")
        self.card = card
        self.device = torch.device(device)
        self.symbol_codec = SymbolCodec(card.name, card.model_id, model.tables, model.scale_decoder.integer(), model.neighbours)
        self._transforms = Transforms(model, self.device, bfloat16=bfloat16, tile=tile)
        self._encoder = Encoder(model, self._transforms)
        self._objective = Objective.of(card)
        self._refiner = Refiner(model, self._objective, self._transforms, post_processor)
        self.metric: Metric = "psnr" if self._objective.distortion == "mse" else "ms-ssim"  # what its streams' bits are spent for
        self.post_processor = post_processor
        self._hybrid = hybrid or HybridCodec()

    @classmethod
    def load(cls, name: str = "ms-ssim", *, device: str = "cpu", bfloat16: bool | None = None) -> Codec:
        """One of `registry.available()`, with the post-processor of its name, if there is one."""
        return cls(
            CodecModel.load(registry.weights(name)),
            registry.card(name),
            device=device,
            bfloat16=bfloat16,
            post_processor=PostProcessor.find(name, device=device, bfloat16=bfloat16),
            hybrid=HybridCodec.load(device=device, bfloat16=bfloat16),
        )

    @property
    def name(self) -> str:
        """Of the model: "psnr" or "ms-ssim"."""
        return self.card.name

    @property
    def model_id(self) -> str:
        """8 hex digits, as in every stream of this model."""
        return self.card.model_id

    def compress(
        self,
        image: Image.Image | NDArray[np.uint8] | Picture,
        *,
        bpp: float | None = None,
        max_bytes: int | None = None,
        quality: float | None = None,
        codec: CodecName = "learned",
        effort: int = 0,
        proceed: Proceed | None = None,
    ) -> Stream:
        """One image (Pillow, uint8 (H, W, 3) or Picture) to a stream; exactly one of the three targets, see `Target`.

        Args:
            image, bpp, max_bytes, quality: what to compress to what.
            codec: "learned"; "hybrid", AVIF tuned for this model's metric; or "auto", the better of the two by that metric, both encoded
                and decoded: `Stream.auto` has what each scored.
            effort, proceed: see `quantise`.

        Raises:
            TargetError: none or several targets, or "auto" without a budget.
            PictureError: not an image of the kinds above.
        """
        if isinstance(image, Image.Image):
            image = Picture.from_image(image)
        elif not isinstance(image, Picture):
            image = Picture.from_array(image)
        target = Target(bpp, max_bytes, quality)
        if codec == "learned":
            return self.encode([image], [target], effort=effort, proceed=proceed)[0]
        if codec == "hybrid":
            return self._hybrid.encode(image, target, metric=self.metric, effort=effort, proceed=proceed)
        check_auto(target)
        learned = self.encode([image], [target], effort=effort, proceed=share(proceed, 0, 2))[0]
        hybrid = self._hybrid.encode(image, target, metric=self.metric, effort=effort, proceed=share(proceed, 1, 2))
        scores = [self.score(picture, image, self.metric) for picture in (self.decode([learned.data])[0], self._hybrid.decode(hybrid.data))]
        return choose(learned, hybrid, Comparison(self.metric, *scores))

    def decompress(self, data: bytes, *, postprocess: Postprocess = "auto") -> Image.Image:
        """A stream of this model, or a hybrid one, to a Pillow image.

        Raises:
            BitstreamError: that is not what it is; a subclass per cause.
            SourceError: it must be post-processed and cannot be.
        """
        if Bitstream.parse(data).codec is CodecKind.HYBRID:
            return self._hybrid.decode(data, postprocess=postprocess).to_image()
        return self.decode([data], postprocess=postprocess)[0].to_image()

    def score(self, decoded: Picture, original: Picture, metric: Metric) -> float:
        """How near the one is to the other by `models.metrics`, on this codec's device: dB, or MS-SSIM in [0, 1]."""
        return score(decoded.rgb, original.rgb, metric, self.device)

    def encode(
        self, pictures: Sequence[Picture], targets: Sequence[Target], *, effort: int = 0, proceed: Proceed | None = None
    ) -> list[Stream]:
        """A batch of any sizes, each to its own target; streams in the same order. See `quantise`."""
        quantised = self.quantise(pictures, targets, effort=effort, proceed=proceed)
        return [self.symbol_codec.write(one) for one in quantised]

    def decode(self, streams: Sequence[bytes], *, max_pixels: int | None = None, postprocess: Postprocess = "auto") -> list[Picture]:
        """Streams of this model to pictures.

        Raises:
            BitstreamError: of the first that cannot be decoded.
            SourceError: of the first that must be post-processed and cannot be.
        """
        return self.reconstruct([self.settled(self.symbol_codec.read(data, max_pixels=max_pixels), postprocess) for data in streams])

    def settled(self, symbols: Symbols, postprocess: Postprocess) -> Symbols:
        """The same, saying whether to post-process. Raises `SourceError` when it must be and cannot be."""
        wanted = decide(postprocess, recommended=symbols.postprocess, source=self._source(symbols), post_processor=self.post_processor)
        return replace(symbols, postprocess=wanted)

    def _source(self, symbols: Symbols) -> Source:
        return Source.learned(self.model_id, symbols.quality)

    def quantise(
        self,
        pictures: Sequence[Picture],
        targets: Sequence[Target],
        alphas: Sequence[bytes | None] | None = None,
        *,
        effort: int = 0,
        proceed: Proceed | None = None,
    ) -> list[Quantised]:
        """The device's share of `encode`: a batch of any sizes, each at the position that its target allows.

        Args:
            pictures, targets: of equal number.
            alphas: what `encode_alpha` made of each picture, if that is done: lossless compression need not keep the device waiting.
            effort: 0 to 9; above 0, `models.learned.refinement.refiner` makes each stream better, one after the other. Decoding costs the same.
            proceed: told how far the refinement of all pictures is; when it answers False, that ends early, with valid streams.
        """
        if len(pictures) != len(targets):
            raise ValueError(f"{len(pictures)} pictures but {len(targets)} targets")
        if effort not in EFFORTS:
            raise ValueError(f"effort is 0 to {EFFORTS[-1]}, not {effort}")
        alphas = [encode_alpha(picture) for picture in pictures] if alphas is None else alphas
        start = headroom(ITERATIONS[effort], self._objective.distortion)
        quantised: dict[int, Quantised] = {}
        for group in _groups([latent_size(picture.height, picture.width) for picture in pictures]):
            found = self._plain([pictures[i] for i in group], [targets[i] for i in group], [alphas[i] for i in group], start)
            quantised.update(zip(group, found, strict=True))
        if effort:
            for i, picture in enumerate(pictures):
                quantised[i] = self._refined(picture, quantised[i], ITERATIONS[effort], share(proceed, i, len(pictures)))
        return [quantised[i] for i in range(len(pictures))]

    def _refined(self, picture: Picture, found: Quantised, iterations: int, proceed: Proceed) -> Quantised:
        """What was found to start from, refined; from the budget itself, where too little could move for it to land there."""
        refined, plain, budget = self._refiner.refine(picture, found, iterations=iterations, proceed=proceed), found, found.budget
        if budget is None or meets(budget, refined.predicted, grain=1):  # in very small pictures 8 bytes are more than the headroom
            return refined
        if headroom(iterations, self._objective.distortion) < 1:
            plain = self._plain([picture], [found.target], [found.alpha])[0]
            if plain.symbols.quality != found.symbols.quality:
                if not proceed(iterations, iterations):
                    return plain  # there is no time for more
                refined = self._refiner.refine(picture, plain, iterations=iterations, proceed=lambda _, of: proceed(of, of))
        met = meets(budget, refined.predicted) or not meets(budget, plain.predicted)
        return refined if met and refined.predicted <= budget else plain

    @torch.inference_mode()
    def _plain(
        self, pictures: Sequence[Picture], targets: Sequence[Target], alphas: Sequence[bytes | None], headroom: float = 1.0
    ) -> list[Quantised]:
        """Without effort: pictures of equal latent size, recommending post-processing where there is one for them."""
        found = self._encoder.quantise(pictures, targets, alphas, headroom=headroom)
        return [replace(one, symbols=self.settled(replace(one.symbols, postprocess=True), "auto")) for one in found]

    @torch.inference_mode()
    def reconstruct(self, symbols: Sequence[Symbols]) -> list[Picture]:
        """The device's share of `decode`: a batch of any sizes; pictures in the same order, post-processed where symbols say so."""
        pictures: dict[int, Picture] = {}
        for group in _groups([one.residuals.shape[1:] for one in symbols]):
            pictures.update(zip(group, self._transforms.pictures([symbols[i] for i in group]), strict=True))
        if self.post_processor is not None:
            suited = [i for i, one in enumerate(symbols) if self.settled(one, "auto").postprocess]
            improved = self.post_processor.improve([pictures[i] for i in suited], [self._source(symbols[i]) for i in suited])
            pictures.update(zip(suited, improved, strict=True))
        return [pictures[i] for i in range(len(symbols))]


def _groups(sizes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Indices of equal sizes, in batches of at most BATCH_PIXELS (a single larger image goes alone).

    Only equal ones: padding the smaller to the size of others would change its y near the right and the bottom border, where the network's
    own padding belongs, and a picture's stream would depend on the company it came in.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i, size in enumerate(sizes):
        by_size.setdefault(size, []).append(i)
    for (rows, columns), members in by_size.items():
        count = max(1, BATCH_PIXELS // (rows * columns * STRIDE**2))
        for start in range(0, len(members), count):
            yield members[start : start + count]

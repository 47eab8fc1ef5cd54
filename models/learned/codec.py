"""LearnedCodec: batches of pictures to streams and back, with one model on one device.

    encode   pictures --encoder--> symbols --refiner (effort)--> symbols --symbol codec--> streams
    decode   streams --symbol codec--> symbols --transforms--> pictures --post-processor--> pictures
           --overlay, if any--> pictures

`encode` and `decode` are two stages each: `quantise` and `reconstruct` on the device, and
`SymbolCodec` on the CPU, which may be another process's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from models.bitstream import Bitstream
from models.bitstream.alpha import encode_alpha
from models.entropy.scale_decoder_torch import PictureScaleDecoder
from models.errors import OptionError, WeightsError
from models.grid import STRIDE, latent_size
from models.learned.encoder import Encoder
from models.learned.model import CodecModel
from models.learned.objective import Objective
from models.learned.refinement.refiner import ITERATIONS, Refiner, anneals, target_fraction
from models.learned.symbol_codec import SymbolCodec
from models.learned.symbols import Quantised, Symbols
from models.learned.transforms import TILE, Transforms
from models.metrics import score
from models.overlay.blend import blend
from models.picture import Picture
from models.postprocess.postprocessor import Postprocess, PostProcessor, decide
from models.postprocess.sources import Source
from models.progress import UNINTERRUPTED, PartOf, Progress, Repeated
from models.rate_control import Metric, Position, Score, Target, meets
from models.rate_control.quality_search import Axis
from models.stream import Stream
from models.weights import registry
from models.weights.card import ModelCard

BATCH_PIXELS = 1 << 22  # images of equal padded size go through the network together up to this many pixels
EFFORTS = range(len(ITERATIONS))  # of the encoder


class LearnedCodec:
    """One model on one device. Keeps nothing between calls, so that several threads may share one.

    Args:
        model: weights, exact scale decoder, tables.
        card: of the model.
        device: where the transforms run.
        bfloat16: run the transforms in bfloat16 or not; None takes what the device is fast at.
            Streams decode alike.
        tile: side in hyper-latents (64 pixels) of the tiles that a picture of more than four goes
            through in.
        post_processor: for this very model's artefacts; one that was trained for others' improves
            nothing.

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
    ) -> None:
        if model.model_id != card.model_id:
            raise WeightsError(
                f"the weights of {card.name} have id {model.model_id}, their card says {card.model_id}"
            )
        self.card = card
        self.device = torch.device(device)
        self.post_processor = post_processor
        self.symbol_codec = SymbolCodec(
            card.name,
            card.model_id,
            model.tables,
            PictureScaleDecoder(model.scale_decoder),
            model.context_model,
        )
        self._objective = Objective.of(card)
        self._transforms = Transforms(model, self.device, bfloat16=bfloat16, tile=tile)
        self._encoder = Encoder(model, self._transforms)
        self._refiner = Refiner(model, self._objective, self._transforms, post_processor)

    @classmethod
    def load(
        cls, name: str = registry.DEFAULT, *, device: str = "cpu", bfloat16: bool | None = None
    ) -> LearnedCodec:
        """Load one of `registry.available()`, with the post-processor of its name, if any."""
        return cls(
            CodecModel.load(registry.weights(name)),
            registry.card(name),
            device=device,
            bfloat16=bfloat16,
            post_processor=PostProcessor.find(name, device=device, bfloat16=bfloat16),
        )

    @property
    def name(self) -> str:
        """Name of the model, such as "psnr"."""
        return self.card.name

    @property
    def model_id(self) -> str:
        """Id of the model, 8 hex digits, as in every stream of it."""
        return self.card.model_id

    @property
    def metric(self) -> Metric:
        """The metric that the bits of its streams are spent for."""
        return "psnr" if self._objective.distortion == "mse" else "ms-ssim"

    @property
    def axis(self) -> Axis:
        """The quality axis, with what the test images scored along it."""
        points = self.card.rate_distortion
        return Axis.of_scores(
            {
                "psnr": {point.quality: point.psnr for point in points},
                "ms-ssim": {point.quality: point.ms_ssim for point in points},
                "ssimulacra2": {
                    point.quality: point.ssimulacra2 for point in points if point.ssimulacra2 is not None
                },
            }
        )

    def expected_bpp(self, quality: float) -> float:
        """Bits per pixel that the test images took at a quality, on average."""
        points = self.card.rate_distortion
        bpp = np.interp(quality, [point.quality for point in points], [point.bpp for point in points])
        return float(bpp)

    def encode(
        self,
        pictures: Sequence[Picture],
        targets: Sequence[Target],
        *,
        effort: int = 0,
        progress: Progress = UNINTERRUPTED,
    ) -> list[Stream]:
        """Compress a batch of any sizes, each to its own target; streams in the same order.

        See `quantise`.
        """
        quantised = self.quantise(pictures, targets, effort=effort, progress=progress)
        return [self.symbol_codec.write(picture) for picture in quantised]

    def decode(
        self, streams: Sequence[bytes], *, max_pixels: int | None = None, postprocess: Postprocess = "auto"
    ) -> list[Picture]:
        """Decompress streams of this model to pictures, in the same order.

        Raises:
            BitstreamError: the first that cannot be decoded.
            SourceError: the first that must be post-processed and cannot be.
        """
        parsed = [Bitstream.parse(data, max_pixels=max_pixels) for data in streams]
        decided = [self.decided(stream, postprocess) for stream in parsed]
        return self.reconstruct([self.symbol_codec.read(stream) for stream in decided])

    def decided(self, stream: Bitstream, postprocess: Postprocess) -> Bitstream:
        """Put the decision on post-processing in the place of the stream's recommendation.

        Raises:
            SourceError: the picture must be post-processed and cannot be.
        """
        wanted = decide(
            postprocess,
            recommended=stream.postprocess,
            source=self._source(stream.position),
            post_processor=self.post_processor,
        )
        return replace(stream, postprocess=wanted)

    def score(
        self, decoded: Picture, original: Picture, metric: Score, progress: Progress = UNINTERRUPTED
    ) -> float:
        """Compare two pictures by `models.metrics`, on this codec's device: dB, MS-SSIM in [0, 1],
        or SSIMULACRA2.

        `progress` may end the work by raising.
        """
        return score(decoded.rgb, original.rgb, metric, self.device, progress)

    def quantise(
        self,
        pictures: Sequence[Picture],
        targets: Sequence[Target],
        alphas: Sequence[bytes | None] | None = None,
        *,
        effort: int = 0,
        progress: Progress = UNINTERRUPTED,
    ) -> list[Quantised]:
        """Do the device's share of `encode`: a batch of any sizes, each at the position that its
        target allows.

        Args:
            pictures: what to compress.
            targets: one for each picture.
            alphas: what `encode_alpha` made of each picture, if that is done; it need not keep the
                device waiting.
            effort: 0 to 9; above 0 each picture is refined, one after the other. Decoding costs the
                same.
            progress: follows the refinement of all pictures, and may end it early, with valid
                streams. Its pauses come without effort too.

        Raises:
            ValueError: another number of targets than of pictures.
            TargetError: a target has minima, for which `Codec.compress` is there.
            OptionError: an effort outside 0 to 9.
        """
        if len(pictures) != len(targets):
            raise ValueError(f"{len(pictures)} pictures but {len(targets)} targets")
        for target in targets:
            target.check_for_minima()
        if effort not in EFFORTS:
            raise OptionError(f"effort is 0 to {EFFORTS[-1]}, not {effort}")
        if alphas is None:
            alphas = [encode_alpha(picture) for picture in pictures]
        fraction = target_fraction(ITERATIONS[effort], self._objective.distortion)
        quantised: dict[int, Quantised] = {}
        for group in _groups([latent_size(picture.height, picture.width) for picture in pictures]):
            found = self._quantised(
                [pictures[i] for i in group],
                [targets[i] for i in group],
                [alphas[i] for i in group],
                fraction,
                progress,
            )
            quantised.update(zip(group, found, strict=True))
        if effort:
            for i, picture in enumerate(pictures):
                part = PartOf(progress, i, len(pictures))
                quantised[i] = self._refined(picture, quantised[i], ITERATIONS[effort], part)
        return [quantised[i] for i in range(len(pictures))]

    @torch.inference_mode()
    def reconstruct(self, symbols: Sequence[Symbols], progress: Progress = UNINTERRUPTED) -> list[Picture]:
        """Do the device's share of `decode`: a batch of any sizes, post-processed where the symbols
        say so, and with their overlays.

        `progress` may end the work by raising.
        """
        pictures: dict[int, Picture] = {}
        for group in _groups([picture.residuals.shape[1:] for picture in symbols]):
            made = self._transforms.pictures([symbols[i] for i in group], progress)
            pictures.update(zip(group, made, strict=True))
            del made  # what follows replaces these pictures
        if self.post_processor is not None:
            chosen = [i for i, picture in enumerate(symbols) if picture.postprocess]
            sources = [self._source(symbols[i].position) for i in chosen]
            improved = self.post_processor.improve([pictures[i] for i in chosen], sources, progress)
            pictures.update(zip(chosen, improved, strict=True))
        for i, picture in enumerate(symbols):
            if picture.overlay is not None:
                blend(pictures[i].rgb, picture.overlay)
        return [pictures[i] for i in range(len(symbols))]

    @torch.inference_mode()
    def _quantised(
        self,
        pictures: Sequence[Picture],
        targets: Sequence[Target],
        alphas: Sequence[bytes | None],
        fraction: float,
        progress: Progress,
    ) -> list[Quantised]:
        """Quantise pictures of equal latent size without effort.

        Recommend post-processing where there is one for them.
        """
        found = self._encoder.quantise(pictures, targets, alphas, target_fraction=fraction, progress=progress)
        return [
            replace(
                picture,
                symbols=replace(picture.symbols, postprocess=self._recommends(picture.symbols.position)),
            )
            for picture in found
        ]

    def _refined(self, picture: Picture, found: Quantised, iterations: int, progress: Progress) -> Quantised:
        """Refine one picture within its budget.

        It never ends worse than without effort, as far as there is time.
        """
        refined = self._refiner.refine(picture, found, iterations=iterations, progress=progress)
        if found.budget is None:
            return refined
        if not anneals(iterations, self._objective.distortion):
            return refined if _keeps_to_budget(refined, found) else found
        return self._annealed(picture, found, refined, iterations, progress)

    def _annealed(
        self, picture: Picture, found: Quantised, refined: Quantised, iterations: int, progress: Progress
    ) -> Quantised:
        """Choose between an annealed picture and the picture without effort.

        Annealing starts from less than the budget, because the bits that it adds are worth more
        than finer quantiser steps. Where it does not come back to the budget, it starts again from
        the budget itself, if there is time.
        """
        windows = self._refiner.windows(found.symbols)
        plain = self._quantised([picture], [found.target], [found.alpha], 1.0, progress)[0]
        if not _on_budget(refined) and plain.symbols.position != found.symbols.position:
            if not progress.affords(iterations * windows):
                return plain
            refined = self._refiner.refine(picture, plain, iterations=iterations, progress=Repeated(progress))
        if not _keeps_to_budget(refined, plain):
            return plain
        if not progress.affords(windows):
            return refined
        better = self._refiner.distortion(picture, refined, progress) < self._refiner.distortion(
            picture, plain, progress
        )
        return refined if better else plain

    def _recommends(self, position: Position) -> bool:
        return self.post_processor is not None and self.post_processor.suits(self._source(position))

    def _source(self, position: Position) -> Source:
        return Source.learned(self.model_id, position)


def _on_budget(quantised: Quantised) -> bool:
    """Say whether the prediction meets the budget, to the byte in very small pictures."""
    return quantised.budget is None or meets(quantised.budget, quantised.predicted_bytes, close_bytes=1)


def _keeps_to_budget(refined: Quantised, plain: Quantised) -> bool:
    """Say whether a refined picture is within its budget, and near it where the plain one is."""
    budget = plain.budget
    if budget is None:
        return True
    if refined.predicted_bytes > budget:
        return False
    return meets(budget, refined.predicted_bytes) or not meets(budget, plain.predicted_bytes)


def _groups(sizes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Yield indices of equal sizes, in batches of at most BATCH_PIXELS (a single larger image goes
    alone).

    Only equal ones: padding the smaller to the size of others would change its y near the right and
    the bottom border, where the network's own padding belongs, and a picture's stream would depend
    on the company it came in.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i, size in enumerate(sizes):
        by_size.setdefault(size, []).append(i)
    for (rows, columns), members in by_size.items():
        count = max(1, BATCH_PIXELS // (rows * columns * STRIDE**2))
        for start in range(0, len(members), count):
            yield members[start : start + count]

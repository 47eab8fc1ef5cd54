"""Codec: one picture to a stream and back, with the learned codec, the hybrid one, or whichever is
better for what is in it.

A thin door over two equals, for programs that hold one picture at a time. Who compresses many at
once takes `LearnedCodec` and `HybridCodec` themselves, as the service does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from models.bitstream import Bitstream, CodecKind
from models.errors import OptionError, TargetError
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.metadata import (
    Keep,
    Metadata,
    kept,
    pack,
    trusted,
    unpack,
    with_metadata,
    with_overlay,
    without_room_for,
)
from models.mixed import Mixture, look, suffices
from models.picture import Picture
from models.postprocess.postprocessor import Postprocess
from models.progress import UNINTERRUPTED, PartOf, Progress, Repeated
from models.rate_control import Metric, QualitySearch, Target
from models.rate_control.quality_search import HYBRID_AXIS
from models.stream import Comparison, Stream
from models.tensors import check_device
from models.weights.registry import DEFAULT

CodecName = Literal["learned", "hybrid", "auto"]
_Encode = Callable[[Picture, Target, int, Progress], Stream]


class Codec:
    """Compresses and decompresses single pictures. Several threads may share one.

    Args:
        learned: one model on one device.
        hybrid: AVIF in the container; spends its bits for the model's metric.
    """

    def __init__(self, learned: LearnedCodec, hybrid: HybridCodec | None = None) -> None:
        self.learned = learned
        self.hybrid = hybrid or HybridCodec()

    @classmethod
    def load(cls, name: str = DEFAULT, *, device: str = "cpu", bfloat16: bool | None = None) -> Codec:
        """Load one of `registry.available()`, with the post-processors at hand.

        Raises:
            WeightsError: there is no such model, or its files are damaged.
            OptionError: there is no such device.
        """
        check_device(device)
        return cls(
            LearnedCodec.load(name, device=device, bfloat16=bfloat16),
            HybridCodec.load(device=device, bfloat16=bfloat16),
        )

    @property
    def name(self) -> str:
        """Name of the model, such as "psnr"."""
        return self.learned.name

    @property
    def model_id(self) -> str:
        """Id of the model, 8 hex digits, as in every learned stream of it."""
        return self.learned.model_id

    @property
    def metric(self) -> Metric:
        """The metric that the bits are spent for."""
        return self.learned.metric

    def compress(
        self,
        image: Image.Image | NDArray[np.uint8] | Picture,
        *,
        bpp: float | None = None,
        max_bytes: int | None = None,
        quality: float | None = None,
        codec: CodecName = "learned",
        min_psnr: float | None = None,
        min_ms_ssim: float | None = None,
        min_ssimulacra2: float | None = None,
        effort: int = 0,
        metadata: Keep | Metadata = "none",
        progress: Progress = UNINTERRUPTED,
    ) -> Stream:
        """Compress one image to one of three targets, or to the smallest that is good enough.

        With minima the picture is compressed, decoded and measured three to five times: the stream
        is the smallest that reaches all of them, to about 1 %. `decompress` gives the picture that
        was measured, post-processed where the stream recommends it. A budget beside them is kept.

        Args:
            image: a Pillow image, uint8 pixels (H, W, 3), or a Picture.
            bpp: bits of the whole stream per pixel, (0, 32].
            max_bytes: size of the whole stream in bytes, at least 1.
            quality: [0, 100], the codec's own axis.
            min_psnr: dB that the decoded picture must reach.
            min_ms_ssim: MS-SSIM that it must reach, [0, 1).
            min_ssimulacra2: SSIMULACRA2 that it must reach, [0, 100).
            codec: "learned"; "hybrid", AVIF tuned for this model's metric; or "auto". That is by
                what is in the picture: learned for photographs, hybrid for drawn pages, learned
                with text and drawing carried by AVIF for photographs with a caption. Where the
                picture does not tell, or the target is out of reach, it is the better of both
                codecs by that metric, both encoded and decoded, or with minima the smaller;
                `Stream.auto` then has what each scored. `Stream.chosen` says which it was.
            effort: 0 to 9; more makes a better picture of the same bytes. Decoding costs the same.
            metadata: "none"; "keep", EXIF and XMP of a Pillow image, but for coordinates,
                thumbnails and maker notes; or "keep-with-gps". The image is turned upright as its
                EXIF says. Or `Metadata` itself, of a picture that is upright. Its bytes are part of
                the budget.
            progress: follows the effort and may end it early, or all of it by raising.

        Raises:
            TargetError: none or several targets, or "auto" for a quality.
            PictureError: not an image of the kinds above.
            OptionError: there is no such codec or effort, or no such metadata to keep.
        """
        if codec not in get_args(CodecName):
            raise OptionError(f"codec is {', '.join(get_args(CodecName))}, not {codec!r}")
        target = Target(
            bpp,
            max_bytes,
            quality,
            min_psnr=min_psnr,
            min_ms_ssim=min_ms_ssim,
            min_ssimulacra2=min_ssimulacra2,
        )
        if isinstance(metadata, Metadata):
            picture = _picture(image)
            carried = trusted(metadata, picture.width, picture.height)
        else:
            picture, carried = _with_metadata(image, metadata)
        section = pack(carried)
        room = without_room_for(target, section, picture.pixels)
        return with_metadata(self._compress(picture, room, codec, effort, progress), section, target)

    def _compress(
        self, picture: Picture, target: Target, codec: CodecName, effort: int, progress: Progress
    ) -> Stream:
        if codec == "learned":
            return self._learned(picture, target, effort, progress)
        if codec == "hybrid":
            return self._hybrid(picture, target, effort, progress)
        check_auto(target)
        return self._auto(picture, target, effort, progress)

    def _auto(self, picture: Picture, target: Target, effort: int, progress: Progress) -> Stream:
        """Make what the picture asks for; both codecs' streams where that does not tell, or where
        the target is out of reach of what it asks for.
        """
        wanted, mixture = look(picture, self.metric, effort)
        parts: tuple[Progress, Progress] = (progress, Repeated(progress))
        if wanted == "both":
            parts = (PartOf(progress, 0, 2), PartOf(progress, 1, 2))
        if wanted == "hybrid":
            hybrid = self._hybrid(picture, target, effort, progress)
            if suffices(hybrid, wanted):
                return replace(hybrid, chosen=wanted)
            learned = self._learned(picture, target, effort, parts[1])
        else:
            encode = self._learned if mixture is None else partial(self._mixed, mixture)
            learned = encode(picture, target, effort, parts[0])
            if wanted != "both" and suffices(learned, wanted):
                return replace(learned, chosen=wanted)
            hybrid = self._hybrid(picture, target, effort, parts[1])
        scores = [
            self.learned.score(self._decoded(stream.data), picture, self.metric, progress)
            for stream in (learned, hybrid)
        ]
        return choose(learned, hybrid, Comparison(self.metric, *scores))

    def decompress(self, data: bytes, *, postprocess: Postprocess = "auto") -> Image.Image:
        """Decompress a stream of this model, or a hybrid one, to a Pillow image.

        Metadata of the stream is in `image.info`: "exif" and "xmp".

        Raises:
            BitstreamError: it is no such stream; a subclass per cause.
            SourceError: it must be post-processed and cannot be.
            OptionError: `postprocess` is none of the three.
        """
        picture = self._decoded(data, postprocess)
        image = picture.to_image()
        section = Bitstream.parse(data).metadata
        if section is not None:
            metadata = trusted(unpack(section), picture.width, picture.height)
            if metadata.exif is not None:
                image.info["exif"] = b"Exif\0\0" + metadata.exif  # as Pillow has it of a JPEG
            if metadata.xmp is not None:
                image.info["xmp"] = metadata.xmp
        return image

    def _decoded(self, data: bytes, postprocess: Postprocess = "auto") -> Picture:
        stream = Bitstream.parse(data)
        if stream.codec is CodecKind.HYBRID:
            return self.hybrid.reconstruct(stream, postprocess=postprocess)
        symbols = self.learned.symbol_codec.read(self.learned.decided(stream, postprocess))
        return self.learned.reconstruct([symbols])[0]

    def _learned(self, picture: Picture, target: Target, effort: int, progress: Progress) -> Stream:
        if target.minima:
            search = QualitySearch(target, picture.pixels, axis=self.learned.axis, effort=effort > 0)
            return self._reaching(search, self._learned, picture, target, effort, progress)
        return self.learned.encode([picture], [target], effort=effort, progress=progress)[0]

    def _mixed(
        self, mixture: Mixture, picture: Picture, target: Target, effort: int, progress: Progress
    ) -> Stream:
        """Make a learned stream with an overlay, or without one where it would not do."""
        if target.minima:
            search = QualitySearch(target, picture.pixels, axis=self.learned.axis, effort=effort > 0)
            return self._reaching(search, partial(self._mixed, mixture), picture, target, effort, progress)
        quality = self._quality(mixture.rest, target, progress)
        budget = target.budget(picture.pixels)
        if section := mixture.section(quality, self.learned.expected_bpp(quality), budget):
            room = without_room_for(target, section, picture.pixels)
            made = with_overlay(self._learned(mixture.rest, room, effort, progress), section, target)
            if made.within_budget:
                return made
        return self._learned(picture, target, effort, progress)

    def _quality(self, picture: Picture, target: Target, progress: Progress) -> float:
        """Quality that the learned codec takes for a target without minima."""
        if target.quality is not None:
            return target.quality
        return self.learned.quantise([picture], [target], progress=progress)[0].symbols.position.quality

    def _hybrid(self, picture: Picture, target: Target, effort: int, progress: Progress) -> Stream:
        if target.minima:
            search = QualitySearch(target, picture.pixels, axis=HYBRID_AXIS, effort=effort > 0)
            return self._reaching(search, self._hybrid, picture, target, effort, progress)
        return self.hybrid.encode(picture, target, metric=self.metric, effort=effort, progress=progress)

    def _reaching(
        self,
        search: QualitySearch,
        encode: _Encode,
        picture: Picture,
        target: Target,
        effort: int,
        progress: Progress,
    ) -> Stream:
        """Find the smallest stream that reaches the minima, by one of the two methods above."""
        best: Stream | None = None
        while (attempt := search.attempt) is not None:
            part = PartOf(progress, *search.part)
            stream = encode(picture, attempt.target, effort if attempt.refined else 0, part)
            decoded = self._decoded(stream.data)
            scores = {score: self.learned.score(decoded, picture, score, progress) for score in target.minima}
            if search.observe(stream.quality, len(stream.data), scores):
                best = replace(stream, target=target, scores=scores)
        assert best is not None  # there is always one attempt
        return replace(best, target_met=search.met, probes=search.attempts)


def check_auto(target: Target) -> None:
    """Refuse to choose a codec for a quality: each codec has an axis of its own.

    Raises `TargetError`.
    """
    if target.quality is not None:
        raise TargetError(
            "the codec can only be chosen (auto) for a budget, bpp or max_bytes, or for minima, and not "
            "for a quality"
        )


def choose(learned: Stream, hybrid: Stream, compared: Comparison) -> Stream:
    """Take the one within the budget, or the one that reaches the minima, where only one does.

    Else the smaller of two that reach the minima; without minima the one that scores better, and
    of equals the smaller.
    """
    best = max((learned, hybrid), key=lambda stream: _rank(stream, compared))
    return replace(best, auto=compared, chosen="both")


def _rank(stream: Stream, compared: Comparison) -> tuple[bool, bool, float, int]:
    size = len(stream.data)
    reaches = bool(stream.target.minima) and stream.target_met
    return stream.within_budget, reaches, -size if reaches else compared.of(stream.codec), -size


def _picture(image: Image.Image | NDArray[np.uint8] | Picture) -> Picture:
    if isinstance(image, Picture):
        return image
    if isinstance(image, Image.Image):
        return Picture.from_image(image)
    return Picture.from_array(image)


def _with_metadata(image: Image.Image | NDArray[np.uint8] | Picture, keep: Keep) -> tuple[Picture, Metadata]:
    """The picture of an image, and what is kept of its metadata; only a Pillow image has any."""
    if keep not in get_args(Keep):
        raise OptionError(f"metadata is {', '.join(get_args(Keep))}, not {keep!r}")
    if keep == "none" or not isinstance(image, Image.Image):
        return _picture(image), Metadata()
    exif = image.getexif()
    turned = exif.get(ExifTags.Base.Orientation, 1)
    found = Metadata(
        image.info.get("exif") or (exif.tobytes() if exif else None), _bytes(image.info.get("xmp"))
    )
    picture = _picture(ImageOps.exif_transpose(image))
    made = kept(found, keep, picture.width, picture.height, turned=turned)
    return picture, made.metadata


def _bytes(packet: str | bytes | None) -> bytes | None:
    return packet.encode() if isinstance(packet, str) else packet

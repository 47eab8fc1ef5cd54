"""Codec: one picture to a stream and back, with the learned codec, the hybrid one, or whichever
comes out better.

A thin door over two equals, for programs that hold one picture at a time. Who compresses many at
once takes `LearnedCodec` and `HybridCodec` themselves, as the service does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from models.bitstream import Bitstream, CodecKind
from models.errors import OptionError, TargetError
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.metadata import Keep, Metadata, kept, pack, trusted, unpack, with_metadata, without_room_for
from models.picture import Picture
from models.postprocess.postprocessor import Postprocess
from models.progress import UNINTERRUPTED, PartOf, Progress
from models.rate_control import Metric, Target
from models.stream import Comparison, Stream
from models.tensors import check_device

CodecName = Literal["learned", "hybrid", "auto"]


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
    def load(cls, name: str = "ms-ssim", *, device: str = "cpu", bfloat16: bool | None = None) -> Codec:
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
        """Name of the model: "psnr" or "ms-ssim"."""
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
        effort: int = 0,
        metadata: Keep | Metadata = "none",
        progress: Progress = UNINTERRUPTED,
    ) -> Stream:
        """Compress one image to exactly one of three targets.

        Args:
            image: a Pillow image, uint8 pixels (H, W, 3), or a Picture.
            bpp: bits of the whole stream per pixel, (0, 32].
            max_bytes: size of the whole stream in bytes, at least 1.
            quality: [0, 100], the codec's own axis.
            codec: "learned"; "hybrid", AVIF tuned for this model's metric; or "auto", the better of
                the two by that metric, both encoded and decoded. `Stream.auto` then has what each
                scored.
            effort: 0 to 9; more makes a better picture of the same bytes. Decoding costs the same.
            metadata: "none"; "keep", EXIF and XMP of a Pillow image, but for coordinates,
                thumbnails and maker notes; or "keep-with-gps". The image is turned upright as its
                EXIF says. Or `Metadata` itself, of a picture that is upright. Its bytes are part of
                the budget.
            progress: follows the effort and may end it early, or all of it by raising.

        Raises:
            TargetError: none or several targets, or "auto" without a budget.
            PictureError: not an image of the kinds above.
            OptionError: there is no such codec or effort, or no such metadata to keep.
        """
        if codec not in get_args(CodecName):
            raise OptionError(f"codec is {', '.join(get_args(CodecName))}, not {codec!r}")
        target = Target(bpp, max_bytes, quality)
        if isinstance(metadata, Metadata):
            picture = _picture(image)
            carried = trusted(metadata, picture.width, picture.height)
        else:
            picture, carried = _with_metadata(image, metadata)
        section = pack(carried)
        stream = self._compress(
            picture, without_room_for(target, section, picture.pixels), codec, effort, progress
        )
        return with_metadata(stream, section, target)

    def _compress(
        self, picture: Picture, target: Target, codec: CodecName, effort: int, progress: Progress
    ) -> Stream:
        if codec == "learned":
            return self._learned(picture, target, effort, progress)
        if codec == "hybrid":
            return self._hybrid(picture, target, effort, progress)
        check_auto(target)
        learned = self._learned(picture, target, effort, PartOf(progress, 0, 2))
        hybrid = self._hybrid(picture, target, effort, PartOf(progress, 1, 2))
        scores = [
            self.learned.score(decoded, picture, self.metric, progress)
            for decoded in (self.learned.decode([learned.data])[0], self.hybrid.decode(hybrid.data))
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
        stream = Bitstream.parse(data)
        if stream.codec is CodecKind.HYBRID:
            picture = self.hybrid.reconstruct(stream, postprocess=postprocess)
        else:
            symbols = self.learned.symbol_codec.read(self.learned.decided(stream, postprocess))
            picture = self.learned.reconstruct([symbols])[0]
        image = picture.to_image()
        if stream.metadata is not None:
            metadata = trusted(unpack(stream.metadata), picture.width, picture.height)
            if metadata.exif is not None:
                image.info["exif"] = b"Exif\0\0" + metadata.exif  # as Pillow has it of a JPEG
            if metadata.xmp is not None:
                image.info["xmp"] = metadata.xmp
        return image

    def _learned(self, picture: Picture, target: Target, effort: int, progress: Progress) -> Stream:
        return self.learned.encode([picture], [target], effort=effort, progress=progress)[0]

    def _hybrid(self, picture: Picture, target: Target, effort: int, progress: Progress) -> Stream:
        return self.hybrid.encode(picture, target, metric=self.metric, effort=effort, progress=progress)


def check_auto(target: Target) -> None:
    """Refuse to choose a codec for a quality: each codec has an axis of its own.

    Raises `TargetError`.
    """
    if target.quality is not None:
        raise TargetError(
            "the codec can only be chosen (auto) for a budget, bpp or max_bytes, and not for a quality"
        )


def choose(learned: Stream, hybrid: Stream, compared: Comparison) -> Stream:
    """Take the one within the budget where only one is.

    Else the one that scores better, and of equals the smaller.
    """
    return replace(max((learned, hybrid), key=lambda stream: _rank(stream, compared)), auto=compared)


def _rank(stream: Stream, compared: Comparison) -> tuple[bool, float, int]:
    budget = stream.target.budget(stream.width * stream.height)
    within = budget is None or len(stream.data) <= budget
    return within, compared.of(stream.codec), -len(stream.data)


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

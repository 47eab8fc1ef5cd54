"""Results of the engine, for pictures and for whole requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from models import Picture, Stream
from models.bitstream import CodecKind
from models.codec import choose
from models.metadata import Kept
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source
from models.rate_control import Measured, Metric, Score
from models.stream import Comparison

from ..images import ImageFormat
from .timings import Timings


class Measure(Enum):
    """A full-reference metric that a client can ask for."""

    PSNR = "psnr"
    MS_SSIM = "ms-ssim"
    SSIMULACRA2 = "ssimulacra2"

    @property
    def score(self) -> Score:
        """Name of the metric in the codec."""
        return self.value


OF_SETS = frozenset({Measure.PSNR, Measure.MS_SSIM})  # that a set of pictures is judged by


@dataclass(frozen=True, slots=True)
class Compressed:
    """A stream, and how it came out.

    Attributes:
        stream: the stream, with its quality and its target.
        report: the decoded picture against the original: PSNR in dB, MS-SSIM in [0, 1],
            SSIMULACRA2.
        effort: 0 to 9, as much as there was time for.
    """

    stream: Stream
    report: Mapping[Measure, float]
    effort: int = 0


def better(learned: Compressed, hybrid: Compressed, metric: Metric, asked: frozenset[Measure]) -> Compressed:
    """Choose between both codecs' streams, by a metric that both report.

    Args:
        learned, hybrid: the candidates.
        metric: decides.
        asked: the part of the report that the client wants.
    """
    measure = Measure(metric)
    compared = Comparison(metric, learned.report[measure], hybrid.report[measure])
    chosen = choose(learned.stream, hybrid.stream, compared)
    made = hybrid if chosen.codec is CodecKind.HYBRID else learned
    return Compressed(chosen, {wanted: made.report[wanted] for wanted in asked}, made.effort)


@dataclass(frozen=True, slots=True)
class Decompressed:
    """A picture out of its stream, and the post-processor that improved it, if one did."""

    picture: Picture
    post_processor: PostProcessor | None


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A file's picture as a stored stream.

    Attributes:
        made: the stream and how it came out.
        id: under which it is stored.
        source_bytes: size of the file.
        kept: of the file's metadata, and what was dropped.
        warnings: what is wrong with the file although it was read.
        timings: of the request.
    """

    made: Compressed
    id: str
    source_bytes: int
    kept: Kept
    warnings: tuple[str, ...]
    timings: Timings


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """A file's picture along the gain axis of a model.

    Attributes:
        width, height: in pixels.
        measured: size and distortions at each of `models.collection.QUALITIES`.
    """

    width: int
    height: int
    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture as an image file.

    Attributes:
        content: the file.
        sha256: digest of the file, 32 bytes.
        post_processor: the one that improved the picture; None if none did.
        timings: of the request.
        format: the file's.
    """

    content: bytes
    sha256: bytes
    post_processor: PostProcessor | None
    timings: Timings
    format: ImageFormat


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A picture in another codec's file, to compare with.

    Attributes:
        content: the file.
        pixels: of its picture.
        quality: setting of the encoder.
        report: its picture against the original: PSNR in dB, MS-SSIM in [0, 1].
        dropped: names of the original's metadata.
        timings: of the request.
    """

    content: bytes
    pixels: int
    quality: int
    report: Mapping[Measure, float]
    dropped: tuple[str, ...]
    timings: Timings


@dataclass(frozen=True, slots=True)
class EnhancedFile:
    """A better picture of somebody else's file.

    Attributes:
        file: the picture.
        source: what the original says of its quantiser.
        dropped: names of the original's metadata.
    """

    file: PictureFile
    source: Source
    dropped: tuple[str, ...]

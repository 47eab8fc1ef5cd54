"""Results of the engine, for the routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from models import Picture, Stream
from models.bitstream import CodecKind
from models.codec import choose
from models.postprocess.postprocessor import PostProcessor
from models.rate_control import Metric
from models.stream import Comparison


class Measure(Enum):
    """A full-reference metric that a client can ask for."""

    PSNR = "psnr"
    MS_SSIM = "ms-ssim"

    @property
    def metric(self) -> Metric:
        """The metric as the codec calls it."""
        return "psnr" if self is Measure.PSNR else "ms-ssim"


@dataclass(frozen=True, slots=True)
class Compressed:
    """A stream and how it came out.

    Attributes:
        stream: the stream.
        report: how near its decoded picture is to the original: PSNR in dB, MS-SSIM in [0, 1].
        effort: that was spent on it, 0 to 9.
    """

    stream: Stream
    report: Mapping[Measure, float]
    effort: int = 0


@dataclass(frozen=True, slots=True)
class Decompressed:
    """A picture out of its stream, and the post-processor that improved it, if one did."""

    picture: Picture
    post_processor: PostProcessor | None


def better(learned: Compressed, hybrid: Compressed, measure: Measure, asked: frozenset[Measure]) -> Compressed:
    """Choose what `auto` answers, by a measure that both report; its report has only what was asked for."""
    compared = Comparison(measure.metric, learned.report[measure], hybrid.report[measure])
    chosen = choose(learned.stream, hybrid.stream, compared)
    made = hybrid if chosen.codec is CodecKind.HYBRID else learned
    return Compressed(chosen, {measured: made.report[measured] for measured in asked}, made.effort)

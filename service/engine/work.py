"""What the device does with a batch: quantise, reconstruct, measure what compressing did, and compare pictures; and what comes of it for a
caller."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from models import Picture, Stream, Target
from models.bitstream import CodecKind
from models.codec import choose
from models.grid import STRIDE
from models.learned.codec import LearnedCodec
from models.learned.symbols import Quantised, Symbols
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source
from models.rate_control import Metric
from models.stream import Comparison

from ..metrics import Metrics
from .effort import EffortDeadline


class Measure(Enum):
    """A full-reference metric that a client can ask for."""

    PSNR = "psnr"
    MS_SSIM = "ms-ssim"

    @property
    def metric(self) -> Metric:
        """As the codec calls it."""
        return "psnr" if self is Measure.PSNR else "ms-ssim"


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time in the engine went, in seconds: waiting for the device, its batches there, the entropy coder, AVIF.

    Under `auto` both codecs work at the same time, so that the sum may be more than passed by the clock.
    """

    queue: float = 0.0
    device: float = 0.0
    entropy: float = 0.0
    avif: float = 0.0

    def __add__(self, other: Timings) -> Timings:
        return Timings(self.queue + other.queue, self.device + other.device, self.entropy + other.entropy, self.avif + other.avif)


@dataclass(frozen=True, slots=True)
class Compressed:
    """A stream, how near its decoded picture is to the original (PSNR in dB, MS-SSIM in [0, 1]), and the effort that was spent on it."""

    stream: Stream
    report: Mapping[Measure, float]
    effort: int = 0
    timings: Timings = Timings()


def better(learned: Compressed, hybrid: Compressed, measure: Measure, asked: frozenset[Measure]) -> Compressed:
    """What `auto` answers: one of the two by a measure that both report, with what was asked for of its report and the time of both."""
    chosen = choose(learned.stream, hybrid.stream, Comparison(measure.metric, learned.report[measure], hybrid.report[measure]))
    made = hybrid if chosen.codec is CodecKind.HYBRID else learned
    return Compressed(chosen, {one: made.report[one] for one in asked}, made.effort, learned.timings + hybrid.timings)


@dataclass(frozen=True, slots=True)
class Decompressed:
    """A picture out of its stream, and what it was post-processed with, if it was."""

    picture: Picture
    post_processor: PostProcessor | None
    timings: Timings


@dataclass(frozen=True, slots=True)
class Enhanced:
    """A picture with fewer artefacts."""

    picture: Picture
    timings: Timings


def padded(height: int, width: int) -> tuple[int, int]:
    """The size that a picture has in the network. Only pictures of equal padded size go through it together."""
    return height + -height % STRIDE, width + -width % STRIDE


@dataclass(frozen=True, slots=True, eq=False)
class QuantiseTask:
    """One picture with its alpha section, and its budget."""

    picture: Picture
    alpha: bytes | None
    target: Target


@dataclass(frozen=True, slots=True, eq=False)
class RefineTask:
    """One picture to quantise with effort. `seconds`: about what it takes without."""

    quantise: QuantiseTask
    refinement: EffortDeadline
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class MeasureTask:
    """What a stream says, the picture that it was made from, and what to measure."""

    symbols: Symbols
    original: Picture
    measures: frozenset[Measure]


@dataclass(frozen=True, slots=True, eq=False)
class EnhanceTask:
    """A picture as its codec gave it back, and what the file says of its quantiser."""

    picture: Picture
    source: Source


class DevicePostProcessor:
    """A post-processor on the device, as a batch operation for the queue."""

    def __init__(self, post_processor: PostProcessor, metrics: Metrics) -> None:
        self.post_processor = post_processor
        self._metrics = metrics

    def improve(self, tasks: Sequence[EnhanceTask]) -> list[Picture]:
        """Better pictures, in the order of the tasks."""
        with self._metrics.stage_timer("device"):
            return self.post_processor.improve([task.picture for task in tasks], [task.source for task in tasks])


@dataclass(frozen=True, slots=True, eq=False)
class CompareTask:
    """A decoded picture, the one that it was made from, and what to measure."""

    decoded: Picture
    original: Picture
    measures: frozenset[Measure]


class DeviceModel:
    """A codec on the device, as batch operations for the queue: results in the order of the tasks."""

    def __init__(self, codec: LearnedCodec, metrics: Metrics) -> None:
        self.codec = codec
        self._metrics = metrics

    def quantise(self, tasks: Sequence[QuantiseTask]) -> list[Quantised]:
        """Symbols at the position that each budget allows. All probes of the batch run as one batch."""
        begun = time.monotonic()
        quantised = self.codec.quantise([task.picture for task in tasks], [task.target for task in tasks], [task.alpha for task in tasks])
        searching = quantised[0].search_seconds
        self._metrics.stage("rate_control", searching)
        self._metrics.stage("device", time.monotonic() - begun - searching)
        return quantised

    def refine(self, tasks: Sequence[RefineTask]) -> list[Quantised]:
        """Symbols that are worth the effort, of one picture: what cannot even begin in time is quantised as without."""
        (task,) = tasks
        refinement, plain = task.refinement, task.quantise
        if not refinement.affordable(task.seconds):
            self._metrics.refined("skipped")
            return self.quantise([plain])
        begun = time.monotonic()
        (quantised,) = self.codec.quantise([plain.picture], [plain.target], [plain.alpha], effort=refinement.effort, progress=refinement)
        self._metrics.stage("rate_control", quantised.search_seconds)
        self._metrics.stage("refine", time.monotonic() - begun - quantised.search_seconds - refinement.paused)
        self._metrics.refined("complete" if refinement.reached == refinement.effort else "cut")
        return [quantised]

    def reconstruct(self, symbols: Sequence[Symbols]) -> list[Picture]:
        """Pictures."""
        with self._metrics.stage_timer("device"):
            return self.codec.reconstruct(symbols)

    def measure(self, tasks: Sequence[MeasureTask]) -> list[dict[Measure, float]]:
        """How near the pictures in the streams are to the originals."""
        with self._metrics.stage_timer("device"):
            decoded = self.codec.reconstruct([task.symbols for task in tasks])
            return [self._scores(picture, task.original, task.measures) for task, picture in zip(tasks, decoded, strict=True)]

    def compare(self, tasks: Sequence[CompareTask]) -> list[dict[Measure, float]]:
        """How near pictures that were decoded elsewhere are to the originals."""
        with self._metrics.stage_timer("device"):
            return [self._scores(task.decoded, task.original, task.measures) for task in tasks]

    def _scores(self, decoded: Picture, original: Picture, measures: frozenset[Measure]) -> dict[Measure, float]:
        return {measure: self.codec.score(decoded, original, measure.metric) for measure in measures}

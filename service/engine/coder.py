"""Pictures to streams and back, for many requests at once.

    compress     device threads: batches ── entropy worker: write
    decompress   entropy worker: read ── device threads: batches
    enhance      device threads: batches

The hybrid codec takes AVIF threads in place of device and entropy worker. `auto` looks at the
picture, in an image worker, and goes one way; or, where that does not tell, both at the same time,
and the device measures what came of each. A damaged stream is found while its symbols are read,
before it costs the device anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from models import Picture, Stream, Target
from models.bitstream import Bitstream, CodecKind
from models.bitstream.alpha import encode_alpha
from models.codec import CodecName
from models.grid import STRIDE
from models.hybrid import av1
from models.learned.symbols import Quantised
from models.metadata import with_metadata, with_overlay, without_room_for
from models.mixed import Mixture, look, suffices
from models.postprocess.postprocessor import Postprocess
from models.postprocess.sources import Source
from models.progress import Progress
from models.rate_control import QualitySearch
from models.rate_control.quality_search import HYBRID_AXIS, Axis
from models.tensors import padded_size

from ..metrics import Metrics
from ..settings import Settings
from . import costs, entropy_worker, watched
from .effort import KEPT_SHARE_OF_TIMEOUT, MAX_EFFORT_PIXELS, EffortDeadline
from .hybrid import both
from .loaded import Models
from .queue import Job
from .results import OF_SETS, Compressed, Decompressed, Measure, better
from .stages import Stages
from .timings import DECODE_AV1, ENCODE_ALPHA, LOOK, Timings
from .work import (
    CompareTask,
    DeviceModel,
    DevicePostProcessor,
    EnhanceTask,
    MeasureTask,
    QuantiseTask,
    RefineTask,
)

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class _Compression:
    """One picture to compress, and all that either codec needs to know for it.

    Attributes:
        model: of the profile.
        task: the picture, its alpha section and its budget.
        report: what to measure of the decoded picture.
        effort: 0 to 9.
        effort_until: when effort should have ended, on `time.monotonic`'s clock.
        deadline: when the result is of no more use, on the same clock.
        timings: account of the request.
    """

    model: DeviceModel
    task: QuantiseTask
    report: frozenset[Measure]
    effort: int
    effort_until: float
    deadline: float
    timings: Timings

    @property
    def picture(self) -> Picture:
        """The original."""
        return self.task.picture

    def job(
        self,
        work: Callable[[Sequence[_Task], Progress], Sequence[_Result]],
        task: _Task,
        *,
        rate: float = 1.0,
        long: bool = False,
    ) -> Job[_Task, _Result]:
        """Make a job of the size of the picture; `rate` and `long` are those of `Job`."""
        return _job(work, task, self.picture, self.deadline, rate=rate, long=long)


class PictureCoder:
    """Compresses, decompresses and enhances pictures.

    In all methods, `deadline` is when the result is of no more use, on `time.monotonic`'s clock,
    and `timings` is the account of the request; None keeps none.

    Args:
        settings: of the service.
        metrics: of the service.
        models: what is loaded.
        stages: where the work runs.
        accepting: says whether the service still accepts work; effort ends early when not.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        models: Models,
        stages: Stages,
        accepting: Callable[[], bool],
    ) -> None:
        self._timeout = settings.request_timeout_seconds
        self._metrics = metrics
        self._models = models
        self._stages = stages
        self._accepting = accepting

    async def compress(
        self,
        picture: Picture,
        target: Target,
        *,
        profile: str,
        codec: CodecName = "learned",
        report: frozenset[Measure] = frozenset(),
        effort: int = 0,
        effort_share: float = 1.0,
        metadata: bytes | None = None,
        deadline: float = math.inf,
        timings: Timings | None = None,
    ) -> Compressed:
        """Compress one picture to its budget.

        Args:
            picture: the original.
            target: its budget, a quality, or minima.
            profile: name of the model.
            codec: what compresses.
            report: what to measure of the decoded picture, beside what has a minimum.
            effort: 0 to 9, as much of it as the deadline allows.
            effort_share: of the time until the deadline, the most that effort takes, in (0, 1].
            metadata: the section that the stream is to carry; its bytes are part of the budget.
            deadline: when the result is of no more use.
            timings: account of the request.

        Raises:
            UnknownProfileError: there is no such model.
            EngineError: there is no time or no memory for it.
            CodecError: it cannot be compressed so.
        """
        timings = timings or Timings()
        timings.begin_coding()
        model = self._models.model(profile)
        room = without_room_for(target, metadata, picture.pixels)
        task = QuantiseTask(picture, await self.alpha_section(picture), room)
        report |= {Measure(score) for score in target.minima}
        measured = report | {Measure(model.codec.metric)} if codec == "auto" else report
        until = self._effort_until(effort_share, deadline, measures=bool(measured))
        wanted = _Compression(model, task, measured, effort, until, deadline, timings)
        if codec == "auto":
            made = await self._compress_auto(wanted, report)
        elif codec == "hybrid":
            made = await self._compress_hybrid(wanted)
        else:
            made = await self._compress_learned(wanted)
        made = replace(made, stream=with_metadata(made.stream, metadata, target))
        self._metrics.compressed(made.stream)
        return made

    async def measure(
        self,
        picture: Picture,
        alpha: bytes | None,
        quality: float,
        *,
        profile: str,
        deadline: float = math.inf,
    ) -> tuple[int, Mapping[Measure, float]]:
        """Measure the stream that a quality makes of a picture; nobody gets the stream itself.

        Args:
            picture: the original.
            alpha: its alpha section.
            quality: [0, 100].
            profile: name of the model.
            deadline: when the result is of no more use.

        Returns:
            Bytes of the stream, and the measures of the decoded picture that sets are judged by.

        Raises what `compress` raises.
        """
        model = self._models.model(profile)
        task = QuantiseTask(picture, alpha, Target(quality=quality))
        quantised = await self._stages.on_device(_job(model.quantise, task, picture, deadline), None)
        stream = await self._stages.in_entropy_coder(
            None, entropy_worker.write, profile, quantised, pixels=picture.pixels
        )
        measuring = MeasureTask(quantised.symbols, picture, OF_SETS)
        job = _job(model.measure, measuring, picture, deadline, rate=costs.measuring(OF_SETS))
        scores = await self._stages.on_device(job, None)
        return len(stream.data), scores

    async def alpha_section(self, picture: Picture) -> bytes | None:
        """Make the alpha section of a picture's streams; None when it is opaque.

        It is lossless, and nothing that the device should wait for.
        """
        if picture.alpha is None:
            return None
        return await self._stages.in_image_worker(ENCODE_ALPHA, None, picture.pixels, encode_alpha, picture)

    async def decompress(
        self,
        stream: Bitstream,
        *,
        postprocess: Postprocess = "auto",
        deadline: float = math.inf,
        timings: Timings | None = None,
    ) -> Decompressed:
        """Decompress a stream to its picture.

        Raises:
            UnknownModelError: its model is not loaded.
            BitstreamError: it cannot be decoded.
            SourceError: it must be post-processed and cannot be.
            EngineError: there is no time or no memory for it.
        """
        timings = timings or Timings()
        timings.begin_coding()
        profile = self._models.profile_of(stream.model_id.hex())
        if profile == self._models.hybrid.name:
            made = await self._decompress_hybrid(stream, postprocess, deadline, timings)
        else:
            made = await self._decompress_learned(
                self._models.model(profile), stream, postprocess, deadline, timings
            )
        self._metrics.decompressed(made.picture.pixels, stream.size)
        return made

    async def enhance(
        self,
        picture: Picture,
        source: Source,
        *,
        file_bytes: int,
        deadline: float = math.inf,
        timings: Timings | None = None,
    ) -> Picture:
        """Take the artefacts out of a picture that is as its codec gave it back.

        `file_bytes` is the size of the file that it comes from.

        Raises:
            SourceError: the post-processor was not trained for this.
            NoPostProcessorError: there is no post-processor.
            EngineError: there is no time or no memory for it.
        """
        timings = timings or Timings()
        timings.begin_coding()
        improved = await self._improve(self._models.post_processor(), picture, source, deadline, timings)
        self._metrics.enhanced(picture.pixels, file_bytes)
        return improved

    async def compare(
        self,
        picture: Picture,
        original: Picture,
        report: frozenset[Measure],
        *,
        deadline: float = math.inf,
        timings: Timings | None = None,
    ) -> Mapping[Measure, float]:
        """Measure a picture that another codec gave back against the original.

        Raises:
            EngineError: there is no time or no memory for it.
        """
        model = self._models.model(next(iter(self._models.codecs)))  # whichever: all measure alike
        task = CompareTask(picture, original, report)
        job = _job(model.compare, task, picture, deadline, rate=costs.comparing(report))
        return await self._stages.on_device(job, timings)

    async def _compress_learned(self, wanted: _Compression) -> Compressed:
        if wanted.task.target.minima:
            return await self._compress_to_minima(wanted, self._compress_learned, wanted.model.codec.axis)
        model = wanted.model
        timings = wanted.timings
        reached = 0
        if wanted.effort and wanted.picture.pixels <= MAX_EFFORT_PIXELS:
            quantised, reached = await self._refine(wanted)
        else:
            quantised = await self._stages.on_device(wanted.job(model.quantise, wanted.task), timings)
        stream = await self._stages.in_entropy_coder(
            timings, entropy_worker.write, model.codec.name, quantised, pixels=wanted.picture.pixels
        )
        self._metrics.entropy_coded("compress", quantised.symbols.coded)
        return Compressed(stream, await self._scores(wanted, stream), reached)

    async def _compress_auto(self, wanted: _Compression, report: frozenset[Measure]) -> Compressed:
        """Make what the picture asks for; both, where that does not tell or misses the target.

        Args:
            wanted: reports what decides between both, too.
            report: what the client asked for.
        """
        choice, mixture = await self._stages.in_image_worker(
            LOOK,
            wanted.timings,
            wanted.picture.pixels,
            look,
            wanted.picture,
            wanted.model.codec.metric,
            wanted.effort,
        )
        learned = self._compress_learned if mixture is None else partial(self._compress_mixed, mixture)
        if choice == "both":
            candidates = await self._compress_with_both(wanted)
            return better(*candidates, wanted.model.codec.metric, report)
        first, second = learned, self._compress_hybrid
        if choice == "hybrid":
            first, second = second, first
        made = await first(replace(wanted, report=report))
        if suffices(made.stream, choice):
            return replace(made, stream=replace(made.stream, chosen=choice))
        other = await second(wanted)
        made = replace(made, report=await self._scores(wanted, made.stream))
        candidates = (other, made) if choice == "hybrid" else (made, other)
        return better(*candidates, wanted.model.codec.metric, report)

    async def _compress_mixed(self, mixture: Mixture, wanted: _Compression) -> Compressed:
        """Compress with the learned codec, with text in an overlay where that will do."""
        if wanted.task.target.minima:
            compress = partial(self._compress_mixed, mixture)
            return await self._compress_to_minima(wanted, compress, wanted.model.codec.axis)
        target, pixels = wanted.task.target, wanted.picture.pixels
        budget = target.budget(pixels)
        rest = replace(wanted, task=replace(wanted.task, picture=mixture.rest), report=frozenset())
        quality = await self._quality(rest)
        bpp = wanted.model.codec.expected_bpp(quality)
        section = await self._stages.encode_beside(
            wanted.timings, pixels, mixture.section, quality, bpp, budget
        )
        if section:
            room = replace(rest.task, target=without_room_for(target, section, pixels))
            made = await self._compress_learned(replace(rest, task=room))
            stream = with_overlay(made.stream, section, target)
            if stream.within_budget:
                return Compressed(stream, await self._scores(wanted, stream), made.effort)
        return await self._compress_learned(wanted)

    async def _quality(self, wanted: _Compression) -> float:
        """Find the quality that the learned codec takes for a target without minima."""
        if wanted.task.target.quality is not None:
            return wanted.task.target.quality
        job = wanted.job(wanted.model.quantise, wanted.task)
        quantised = await self._stages.on_device(job, wanted.timings)
        return quantised.symbols.position.quality

    async def _compress_with_both(self, wanted: _Compression) -> tuple[Compressed, Compressed]:
        """Compress with the learned and with the hybrid codec.

        Of a large picture each holds more than a gigabyte: one comes after the other.
        """
        if costs.is_large(wanted.picture.pixels):
            now = time.monotonic()
            half_way = now + (wanted.effort_until - now) / 2
            hybrid = await self._compress_hybrid(replace(wanted, effort_until=half_way))
            return await self._compress_learned(wanted), hybrid
        return await both(self._compress_learned(wanted), self._compress_hybrid(wanted))

    async def _compress_hybrid(self, wanted: _Compression) -> Compressed:
        if wanted.task.target.minima:
            return await self._compress_to_minima(wanted, self._compress_hybrid, HYBRID_AXIS)
        timings = wanted.timings
        stream, reached = await self._stages.search_avif(
            self._models.hybrid,
            wanted.task,
            wanted.model.codec.metric,
            effort=wanted.effort,
            until=wanted.effort_until,
            timings=timings,
        )
        return Compressed(stream, await self._scores(wanted, stream), reached)

    async def _compress_to_minima(
        self,
        wanted: _Compression,
        compress: Callable[[_Compression], Awaitable[Compressed]],
        axis: Axis,
    ) -> Compressed:
        """Find the smallest stream that reaches the minima: compress, decode, measure, and again.

        Each attempt is a request's work of its own to the stages, so that others come in between.
        """
        target = wanted.task.target
        minima = frozenset(Measure(score) for score in target.minima)
        search = QualitySearch(target, wanted.picture.pixels, axis=axis, effort=wanted.effort > 0)
        best: Compressed | None = None
        while (attempt := search.attempt) is not None:
            now = time.monotonic()
            done, most = search.part
            made = await compress(
                replace(
                    wanted,
                    task=replace(wanted.task, target=attempt.target),
                    report=minima,
                    effort=wanted.effort if attempt.refined else 0,
                    effort_until=now + (wanted.effort_until - now) / (most - done),
                )
            )
            scores = {measure.score: value for measure, value in made.report.items()}
            if search.observe(made.stream.quality, len(made.stream.data), scores):
                best = replace(made, stream=replace(made.stream, target=target, scores=scores))
        assert best is not None  # there is always one attempt
        stream = replace(best.stream, target_met=search.met, probes=search.attempts)
        others = await self._scores(replace(wanted, report=wanted.report - minima), stream)
        return replace(best, stream=stream, report={**best.report, **others})

    async def _scores(self, wanted: _Compression, stream: Stream) -> Mapping[Measure, float]:
        """Decode a stream as clients will by default, and measure what this one asked for."""
        if not wanted.report:
            return {}
        model = wanted.model
        timings = wanted.timings
        parsed = Bitstream.parse(stream.data)
        if parsed.codec is CodecKind.HYBRID:
            decoded = await self._decompress_hybrid(parsed, "auto", wanted.deadline, timings)
            comparing = CompareTask(decoded.picture, wanted.picture, wanted.report)
            rate = costs.comparing(wanted.report)
            return await self._stages.on_device(wanted.job(model.compare, comparing, rate=rate), timings)
        symbols = await self._stages.in_entropy_coder(
            timings, entropy_worker.read, model.codec.name, parsed, pixels=parsed.pixels
        )
        measuring = MeasureTask(symbols, wanted.picture, wanted.report)
        rate = costs.measuring(wanted.report)
        return await self._stages.on_device(wanted.job(model.measure, measuring, rate=rate), timings)

    async def _refine(self, wanted: _Compression) -> tuple[Quantised, int]:
        """Quantise with effort. Returns the effort that there was time for, too."""
        device = self._stages.device
        progress = EffortDeadline(wanted.effort, until=wanted.effort_until, wanted=self._accepting)
        padded_pixels = math.prod(padded_size(wanted.picture.height, wanted.picture.width, STRIDE))
        task = RefineTask(wanted.task, progress, device.seconds_per_pixel * padded_pixels)
        job = wanted.job(wanted.model.refine, task, rate=0, long=True)
        with watched.shared(lambda: progress.share):
            quantised = await self._stages.on_device(job, wanted.timings)
        return quantised, progress.reached

    async def _decompress_learned(
        self,
        model: DeviceModel,
        stream: Bitstream,
        postprocess: Postprocess,
        deadline: float,
        timings: Timings,
    ) -> Decompressed:
        decided = model.codec.decided(stream, postprocess)
        symbols = await self._stages.in_entropy_coder(
            timings, entropy_worker.read, model.codec.name, decided, pixels=decided.pixels
        )
        job = Job(
            model.reconstruct,
            symbols,
            padded_size(stream.height, stream.width, STRIDE),
            stream.pixels,
            deadline,
            rate=costs.RECONSTRUCT,
        )
        picture = await self._stages.on_device(job, timings)
        self._metrics.entropy_coded("decompress", symbols.coded)
        return Decompressed(picture, model.codec.post_processor if decided.postprocess else None)

    async def _decompress_hybrid(
        self, stream: Bitstream, postprocess: Postprocess, deadline: float, timings: Timings
    ) -> Decompressed:
        picture = await self._stages.in_image_worker(DECODE_AV1, timings, stream.pixels, av1.decode, stream)
        source = self._models.hybrid.source(stream, postprocess)
        if source is None:
            return Decompressed(picture, None)
        loaded = self._models.post_processor()
        improved = await self._improve(loaded, picture, source, deadline, timings)
        return Decompressed(improved, loaded.post_processor)

    async def _improve(
        self, loaded: DevicePostProcessor, picture: Picture, source: Source, deadline: float, timings: Timings
    ) -> Picture:
        size = loaded.post_processor.padded(picture.height, picture.width)
        task = EnhanceTask(picture, source)
        job = Job(loaded.improve, task, size, picture.pixels, deadline, rate=costs.IMPROVE)
        return await self._stages.on_device(job, timings)

    def _effort_until(self, share: float, deadline: float, *, measures: bool) -> float:
        """Compute when effort should have ended, so that what comes after it meets the deadline."""
        now = time.monotonic()
        kept = KEPT_SHARE_OF_TIMEOUT * self._timeout * (2 if measures else 1)
        return now + share * (deadline - kept - now)


def _job(
    work: Callable[[Sequence[_Task], Progress], Sequence[_Result]],
    task: _Task,
    picture: Picture,
    deadline: float,
    *,
    rate: float = 1.0,
    long: bool = False,
) -> Job[_Task, _Result]:
    size = padded_size(picture.height, picture.width, STRIDE)
    return Job(work, task, size, picture.pixels, deadline, long, rate)

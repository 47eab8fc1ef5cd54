"""Conductor: takes a request through its stages, seen from the event loop.

    compress     image threads: decode ── device thread: batches ── entropy stage: write ── answer
    decompress   entropy stage: read ── device thread: batches ── image threads: encode ── answer
    enhance      image threads: decode ── device thread: batches ── image threads: encode ── answer
                                          └─ see `queue` and `device`

The hybrid codec takes AVIF threads in place of device and entropy stage. `auto` goes both ways at the same time, and
the device measures what came of each. A request's `Stages` record where its time goes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple, Unpack

from models import Picture, Target
from models.bitstream import Bitstream
from models.bitstream.alpha import encode_alpha
from models.codec import CodecName
from models.grid import STRIDE
from models.learned.symbols import Quantised
from models.postprocess.postprocessor import Postprocess
from models.postprocess.sources import Source
from models.tensors import padded_size

from ..metrics import Metrics
from . import entropy_worker
from .device import DeviceThread
from .effort import RESERVED_TIMEOUT_FRACTION, EffortDeadline, TimeLimits
from .entropy import EntropyStage
from .hybrid import HybridStage, both
from .loaded import Models
from .queue import Job, JobQueue, Result, Task
from .results import Compressed, Decompressed, Measure, better
from .stages import Stages, out_of_memory_is_told
from .work import CompareTask, DeviceModel, DevicePostProcessor, EnhanceTask, MeasureTask, QuantiseTask, RefineTask

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


@dataclass(frozen=True, slots=True)
class _Order:
    """One picture to compress, and how.

    Attributes:
        task: the picture and its budget.
        report: what to measure.
        effort: 0 to 9.
        limits: until when.
    """

    task: QuantiseTask
    report: frozenset[Measure]
    effort: int
    limits: TimeLimits

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in the network; only pictures of equal size go through it together."""
        return padded_size(self.task.picture.height, self.task.picture.width, STRIDE)


class Conductor:
    """Compresses, decompresses and enhances for many requests at once. All methods are for one event loop.

    Args:
        models: loaded by the device thread.
        queue: to the device.
        device: takes from the queue.
        entropy: codes symbols.
        hybrid: searches AVIF settings.
        image_threads: where files are read and written.
        metrics: of the service.
        timeout_seconds: that a request may take.
    """

    def __init__(
        self,
        *,
        models: Models,
        queue: JobQueue,
        device: DeviceThread,
        entropy: EntropyStage,
        hybrid: HybridStage,
        image_threads: Executor,
        metrics: Metrics,
        timeout_seconds: float,
    ) -> None:
        self.models = models
        self.accepting = False  # no new work, and effort ends early
        self._queue = queue
        self._device = device
        self._entropy = entropy
        self._hybrid = hybrid
        self._image_threads = image_threads
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds

    def stages(self) -> Stages:
        """Begin to record the stages of a request."""
        return Stages(self._metrics, self._image_threads)

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
        deadline: float = math.inf,
        stages: Stages | None = None,
    ) -> Compressed:
        """Compress one picture to its budget, with as much of the effort as the deadline allows.

        Args:
            picture: what to compress.
            target: its budget.
            profile: name of the model.
            codec: which codec, or "auto".
            report: what to measure of the decoded result.
            effort: 0 to 9.
            effort_share: share of the time until the deadline that effort may take, (0, 1].
            deadline: on `time.monotonic`'s clock.
            stages: of the request.

        Raises:
            UnknownProfileError: no such model is loaded.
            EngineError: there is no time or no memory for it.
            CodecError: it cannot be compressed.
        """
        stages = stages or self.stages()
        stages.begin_engine()
        model = self.models.model(profile)
        measure = Measure(model.codec.metric)
        measured = report | {measure} if codec == "auto" else report
        order = _Order(
            task=QuantiseTask(picture, await self.alpha_section(picture, stages), target),
            report=measured,
            effort=effort,
            limits=self._limits(measured, effort_share, deadline),
        )
        if codec == "auto":
            learned, hybrid = await both(self._compress_learned(model, order, stages), self._compress_hybrid(model, order, stages))
            made = better(learned, hybrid, measure, report)
        elif codec == "hybrid":
            made = await self._compress_hybrid(model, order, stages)
        else:
            made = await self._compress_learned(model, order, stages)
        self._metrics.compressed(made.stream)
        return made

    async def _compress_learned(self, model: DeviceModel, order: _Order, stages: Stages) -> Compressed:
        picture = order.task.picture
        name = model.codec.name
        reached = 0
        if order.effort:
            quantised, reached = await self._refine(model, order, stages)
        else:
            job = Job(model.quantise, order.task, order.size, picture.pixels, order.limits.answer)
            quantised = await self._on_device(job, stages)
        stream = await self._in_coder(stages, entropy_worker.write, name, quantised)
        self._metrics.entropy_coded("compress", quantised.symbols.coded)
        measured: dict[Measure, float] = {}
        if order.report:
            symbols = await self._in_coder(stages, entropy_worker.read, name, Bitstream.parse(stream.data))
            task = MeasureTask(symbols, picture, order.report)
            job_of_measuring = Job(model.measure, task, order.size, picture.pixels, order.limits.answer)
            measured = await self._on_device(job_of_measuring, stages)
        return Compressed(stream, measured, reached)

    async def _compress_hybrid(self, model: DeviceModel, order: _Order, stages: Stages) -> Compressed:
        begun = time.monotonic()
        with out_of_memory_is_told():
            stream, reached = await self._hybrid.compress(
                self.models.hybrid, order.task, model.codec.metric, effort=order.effort, until=order.limits.effort
            )
        stages.add("avif", time.monotonic() - begun)
        measured: dict[Measure, float] = {}
        if order.report:
            picture = order.task.picture
            decoded = await self._decompress_hybrid(Bitstream.parse(stream.data), "auto", order.limits.answer, stages)
            task = CompareTask(decoded.picture, picture, order.report)
            job = Job(model.compare, task, order.size, picture.pixels, order.limits.answer)
            measured = await self._on_device(job, stages)
        return Compressed(stream, measured, reached)

    def _limits(self, report: frozenset[Measure], effort_share: float, deadline: float) -> TimeLimits:
        """Leave time for what comes after effort to be done by the deadline."""
        reserve = RESERVED_TIMEOUT_FRACTION * self._timeout_seconds * (2 if report else 1)
        now = time.monotonic()
        return TimeLimits(effort=now + effort_share * (deadline - reserve - now), answer=deadline)

    async def measure(
        self, picture: Picture, alpha: bytes | None, quality: float, *, profile: str, deadline: float = math.inf
    ) -> tuple[int, Mapping[Measure, float]]:
        """Measure the stream that a quality makes of a picture with this alpha section; nobody gets the stream itself.

        Returns:
            Its bytes, and how near its picture is by every measure. Raises what `compress` raises.
        """
        stages = self.stages()
        model = self.models.model(profile)
        size = padded_size(picture.height, picture.width, STRIDE)
        task = QuantiseTask(picture, alpha, Target(quality=quality))
        quantised = await self._on_device(Job(model.quantise, task, size, picture.pixels, deadline), stages)
        stream = await self._in_coder(stages, entropy_worker.write, profile, quantised)
        measuring = MeasureTask(quantised.symbols, picture, frozenset(Measure))
        scores = await self._on_device(Job(model.measure, measuring, size, picture.pixels, deadline), stages)
        return len(stream.data), scores

    async def alpha_section(self, picture: Picture, stages: Stages | None = None) -> bytes | None:
        """Make the alpha section of a picture's streams: lossless, and nothing that the device should wait for."""
        if picture.alpha is None:
            return None
        return await (stages or self.stages()).untold("encode", encode_alpha, picture)

    async def decompress(
        self,
        stream: Bitstream,
        *,
        postprocess: Postprocess = "auto",
        deadline: float = math.inf,
        stages: Stages | None = None,
    ) -> Decompressed:
        """Decompress a stream to its picture.

        A damaged stream is found while its symbols are read, before it costs the device anything.

        Raises:
            UnknownModelError: its model is not loaded.
            BitstreamError: it cannot be decoded.
            SourceError: it must be post-processed and cannot be.
            EngineError: there is no time or no memory for it.
        """
        stages = stages or self.stages()
        stages.begin_engine()
        profile = self.models.profile_of(stream.model_id.hex())
        if profile == self.models.hybrid.name:
            made = await self._decompress_hybrid(stream, postprocess, deadline, stages)
        else:
            made = await self._decompress_learned(self.models.model(profile), stream, postprocess, deadline, stages)
        self._metrics.decompressed(made.picture.pixels, stream.size)
        return made

    async def _decompress_learned(
        self, model: DeviceModel, stream: Bitstream, postprocess: Postprocess, deadline: float, stages: Stages
    ) -> Decompressed:
        decided = model.codec.decided(stream, postprocess)
        symbols = await self._in_coder(stages, entropy_worker.read, model.codec.name, decided)
        size = padded_size(stream.height, stream.width, STRIDE)
        picture = await self._on_device(Job(model.reconstruct, symbols, size, stream.pixels, deadline), stages)
        self._metrics.entropy_coded("decompress", symbols.coded)
        return Decompressed(picture, model.codec.post_processor if decided.postprocess else None)

    async def _decompress_hybrid(self, stream: Bitstream, postprocess: Postprocess, deadline: float, stages: Stages) -> Decompressed:
        picture, source = await stages.on_image_thread_as("avif", "decode", self.models.hybrid.decode_av1, stream, postprocess=postprocess)
        if source is None:
            return Decompressed(picture, None)
        loaded = self.models.post_processor()
        return Decompressed(await self._improve(loaded, picture, source, deadline, stages), loaded.post_processor)

    async def enhance(
        self,
        picture: Picture,
        source: Source,
        *,
        file_bytes: int,
        deadline: float = math.inf,
        stages: Stages | None = None,
    ) -> Picture:
        """Improve a picture as its codec gave it back, from a file of so many bytes.

        Raises:
            SourceError: the post-processor was not trained for such a source.
            NoPostProcessorError: there is none.
            EngineError: there is no time or no memory for it.
        """
        stages = stages or self.stages()
        stages.begin_engine()
        improved = await self._improve(self.models.post_processor(), picture, source, deadline, stages)
        self._metrics.enhanced(picture.pixels, file_bytes)
        return improved

    async def _improve(self, loaded: DevicePostProcessor, picture: Picture, source: Source, deadline: float, stages: Stages) -> Picture:
        size = loaded.post_processor.padded(picture.height, picture.width)
        job = Job(loaded.improve, EnhanceTask(picture, source), size, picture.pixels, deadline)
        return await self._on_device(job, stages)

    async def _refine(self, model: DeviceModel, order: _Order, stages: Stages) -> tuple[Quantised, int]:
        """Quantise with effort; gives also the effort that there was time for."""
        refinement = EffortDeadline(
            order.effort,
            until=order.limits.effort,
            between=self._device.run_between,
            wanted=lambda: self.accepting,
        )
        seconds = self._device.seconds_per_pixel * math.prod(order.size)
        task = RefineTask(order.task, refinement, seconds)
        job = Job(model.refine, task, order.size, order.task.picture.pixels, order.limits.answer, long=True)
        try:
            quantised = await self._on_device(job, stages, paused=lambda: refinement.paused)
        except asyncio.CancelledError:
            refinement.abandoned = True
            raise
        return quantised, refinement.reached

    async def _on_device(self, job: Job[Task, Result], stages: Stages, *, paused: Callable[[], float] = lambda: 0.0) -> Result:
        """Wait for a job; `paused` gives the seconds that others had the device while the job ran."""
        self._queue.put(job)
        try:
            result = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:  # a deadline, or a client gone; the future is cancelled already
            self._queue.discard(job)
            raise
        stages.add("queue", job.queue_seconds + paused())
        stages.add("device", job.device_seconds - paused())
        return result

    async def _in_coder(self, stages: Stages, function: Callable[[Unpack[_Arguments]], _T], *arguments: *_Arguments) -> _T:
        begun = time.monotonic()
        with out_of_memory_is_told():
            result = await self._entropy.run(function, *arguments)
        stages.add("entropy", time.monotonic() - begun)
        return result

"""The engine: three overlapping stages around one device, seen from the event loop.

    compress     admit ── image threads: decode ── device thread: batches ── entropy stage: write ── answer
    decompress   admit ── entropy stage: read ── device thread: batches ── image threads: encode ── answer
    enhance      admit ── image threads: decode ── device thread: batches ── image threads: encode ── answer
                   └─ no room: OverloadedError       └─ see `queue` and `device`

The hybrid codec takes AVIF threads in place of device and entropy stage; `auto` goes both ways at the same time, and the device measures
what came of each. A damaged stream is found while its symbols are read, before it costs the device anything.

All methods are for one event loop, so that the counters need no lock.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, Unpack

import torch

from models import Picture, Target
from models.bitstream import Bitstream
from models.bitstream.alpha import encode_alpha
from models.codec import CodecName
from models.learned.symbols import Quantised
from models.postprocess.postprocessor import Postprocess
from models.postprocess.sources import Source

from ..metrics import Metrics, Stage
from ..settings import Settings
from . import entropy_worker
from .admission import Admission
from .device import DeviceThread
from .effort import SHARE_OF_TIMEOUT, EffortDeadline, cost
from .entropy import EntropyStage, default_workers
from .errors import OutOfMemoryError, UnavailableError
from .hybrid import HybridStage, both
from .loaded import Models
from .queue import Job, JobQueue
from .work import (
    CompareTask,
    Compressed,
    Decompressed,
    DeviceModel,
    DevicePostProcessor,
    Enhanced,
    EnhanceTask,
    Measure,
    MeasureTask,
    QuantiseTask,
    RefineTask,
    Timings,
    better,
    padded,
)

CPU_BATCH_PIXELS = 400_000  # a photograph of Kodak size goes alone, 24 thumbnails of 128x128 together
GPU_BATCH_PIXELS = 4_000_000
MAX_LANES = 4  # each may hold 0.8 GB of activations

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


class Engine:
    """Compresses and decompresses for many requests at once. `start` it, `close` it.

    Attributes:
        models: what is loaded, once it has started.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.models = Models(settings, metrics)
        on_cpu = torch.device(settings.device).type == "cpu"
        # On a CPU, batches of photographs take longer than one after the other, out of the caches: 16 to 26 % on Kodak. Thumbnails gain.
        self._queue = JobQueue(settings.max_batch_pixels or (CPU_BATCH_PIXELS if on_cpu else GPU_BATCH_PIXELS))
        lanes = settings.device_threads or (min(settings.threads or torch.get_num_threads(), MAX_LANES) if on_cpu else 1)
        self._device = DeviceThread(self._queue, self.models.load, metrics, lanes=lanes)
        workers = settings.entropy_workers
        self._entropy = EntropyStage(default_workers(settings.device) if workers is None else workers, metrics)
        self._image_threads = ThreadPoolExecutor(settings.image_threads, thread_name_prefix="image")
        self._hybrid = HybridStage(settings.image_threads, metrics)
        self._admission = Admission(
            max_requests=settings.max_queued_requests,
            max_pixels=settings.max_queued_pixels,
            timeout=settings.request_timeout_seconds,
            seconds_per_pixel=lambda: self._device.seconds_per_pixel,
        )
        self._accepting = False
        metrics.watch_queue(
            images=lambda: len(self._queue),
            pixels=lambda: self._admission.pixels,
            oldest_age=lambda: self._queue.oldest_age,
            max_pixels=settings.max_queued_pixels,
        )
        metrics.watch_device(settings.device, up=lambda: self.alive, heartbeat_age=lambda: self._device.silence)

    async def start(self) -> None:
        """Load and warm up the models; raises what that raises."""
        self._device.start()
        try:
            await asyncio.gather(asyncio.wrap_future(self._device.ready), self._entropy.start(self._settings.models))
        except Exception as error:  # the server's traceback is long, and what is wrong is at its end
            _log.critical("cannot load %s on %s: %s", ", ".join(self._settings.models), self._settings.device, error)
            raise
        self._accepting = True

    async def close(self) -> None:
        """Refuse new work, finish what was accepted, stop the threads."""
        self._accepting = False
        while self._admission.requests:  # none stays longer than request_timeout_seconds
            await asyncio.sleep(0.02)
        self._queue.close()
        await asyncio.to_thread(self._device.join, self._settings.stall_seconds)
        self._entropy.close()
        self._hybrid.close()
        self._image_threads.shutdown(wait=False, cancel_futures=True)

    @property
    def ready(self) -> bool:
        """Whether work is accepted: the models are loaded and nobody has asked to stop."""
        return self._accepting and self.alive

    @property
    def alive(self) -> bool:
        """Whether the device thread runs and was seen within `stall_seconds`."""
        return self._device.silence < self._settings.stall_seconds

    def check_room(self) -> None:
        """Raises `OverloadedError` or `UnavailableError` when `admit` would do so whatever the number of pixels."""
        if not self.ready:
            raise UnavailableError("the service is shutting down or its device failed", retry_after=10)
        self._admission.check()

    @asynccontextmanager
    async def admit(self, pixels: int, *, effort: int = 0) -> AsyncIterator[float]:
        """Hold room for a request, for as long as a request may take; gives its deadline, for `compress` and `decompress`.

        Raises `OverloadedError` when there is no room, `UnavailableError` when no work is accepted, `DeadlineExceededError` when the
        body of the `async with` takes longer than `request_timeout_seconds`.
        """
        self.check_room()
        async with self._admission.admit(pixels, pixels * cost(effort)) as deadline:
            yield deadline

    async def on_image_thread(self, stage: Stage, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run what reads or writes image files off the event loop, and record its duration as `stage`."""

        def timed() -> _T:
            with self._metrics.stage_timer(stage):
                return function(*args, **kwargs)

        with _memory():
            return await asyncio.get_running_loop().run_in_executor(self._image_threads, timed)

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
    ) -> Compressed:
        """One picture to its budget, with as much of the effort as the deadline allows: of the time until then, effort takes no more
        than `effort_share`, in (0, 1].

        Raises `UnknownProfileError`, `EngineError`s, `CodecError`s.
        """
        model = self.models.model(profile)
        task = QuantiseTask(picture, await self.alpha_section(picture), target)
        measure = Measure(model.codec.metric)
        measured = report | {measure} if codec == "auto" else report
        now = time.monotonic()
        until = now + effort_share * (self._until(measured, deadline) - now)
        if codec == "auto":
            learned, hybrid = await both(
                self._compress_learned(model, task, measured, effort, until, deadline),
                self._compress_hybrid(model, task, measured, effort, until, deadline),
            )
            made = better(learned, hybrid, measure, report)
        else:
            compress = self._compress_hybrid if codec == "hybrid" else self._compress_learned
            made = await compress(model, task, report, effort, until, deadline)
        self._metrics.compressed(made.stream)
        return made

    async def _compress_learned(
        self, model: DeviceModel, task: QuantiseTask, report: frozenset[Measure], effort: int, until: float, deadline: float
    ) -> Compressed:
        picture, profile, size = task.picture, model.codec.name, padded(task.picture.height, task.picture.width)
        reached = 0
        if effort:
            quantised, timings, reached = await self._refine(model, task, size, effort, until, deadline)
        else:
            quantised, timings = await self._on_device(Job(model.quantise, task, size, picture.pixels, deadline))
        stream, coding = await self._in_coder(entropy_worker.write, profile, quantised)
        self._metrics.entropy_coded("compress", quantised.symbols.coded)
        timings += coding
        measured: dict[Measure, float] = {}
        if report:
            symbols, reading = await self._in_coder(entropy_worker.read, profile, Bitstream.parse(stream.data))
            job = Job(model.measure, MeasureTask(symbols, picture, report), size, picture.pixels, deadline)
            measured, measuring = await self._on_device(job)
            timings += reading + measuring
        return Compressed(stream, measured, reached, timings)

    async def _compress_hybrid(
        self, model: DeviceModel, task: QuantiseTask, report: frozenset[Measure], effort: int, until: float, deadline: float
    ) -> Compressed:
        begun = time.monotonic()
        with _memory():
            stream, reached = await self._hybrid.compress(self.models.hybrid, task, model.codec.metric, effort=effort, until=until)
        timings = Timings(avif=time.monotonic() - begun)
        measured: dict[Measure, float] = {}
        if report:
            picture = task.picture
            decoded = await self._decompress_hybrid(Bitstream.parse(stream.data), "auto", deadline)
            size = padded(picture.height, picture.width)
            job = Job(model.compare, CompareTask(decoded.picture, picture, report), size, picture.pixels, deadline)
            measured, measuring = await self._on_device(job)
            timings += decoded.timings + measuring
        return Compressed(stream, measured, reached, timings)

    def _until(self, report: frozenset[Measure], deadline: float) -> float:
        """When effort should have ended, for what comes after it to be done by the deadline."""
        return deadline - SHARE_OF_TIMEOUT * self._settings.request_timeout_seconds * (2 if report else 1)

    async def measure(
        self, picture: Picture, alpha: bytes | None, quality: float, *, profile: str, deadline: float = math.inf
    ) -> tuple[int, Mapping[Measure, float]]:
        """Bytes and looks of the stream that this quality makes of a picture with this alpha section; nobody gets the stream itself.

        Raises what `compress` raises.
        """
        model, size = self.models.model(profile), padded(picture.height, picture.width)
        job = Job(model.quantise, QuantiseTask(picture, alpha, Target(quality=quality)), size, picture.pixels, deadline)
        quantised, _ = await self._on_device(job)
        stream, _ = await self._in_coder(entropy_worker.write, profile, quantised)
        job = Job(model.measure, MeasureTask(quantised.symbols, picture, frozenset(Measure)), size, picture.pixels, deadline)
        looks, _ = await self._on_device(job)
        return len(stream.data), looks

    async def alpha_section(self, picture: Picture) -> bytes | None:
        """The alpha section of a picture's streams: lossless, and nothing that the device should wait for."""
        return None if picture.alpha is None else await self.on_image_thread("encode", encode_alpha, picture)

    async def decompress(self, stream: Bitstream, *, postprocess: Postprocess = "auto", deadline: float = math.inf) -> Decompressed:
        """Decompress a stream to its picture.

        Raises:
            UnknownModelError: its model is not loaded.
            BitstreamError: it cannot be decoded.
            SourceError: it must be post-processed and cannot be.
            EngineError: there is no time or no memory for it.
        """
        profile = self.models.profile_of(stream.model_id.hex())
        if profile == self.models.hybrid.name:
            made = await self._decompress_hybrid(stream, postprocess, deadline)
        else:
            made = await self._decompress_learned(self.models.model(profile), stream, postprocess, deadline)
        self._metrics.decompressed(made.picture.pixels, stream.size)
        return made

    async def _decompress_learned(self, model: DeviceModel, stream: Bitstream, postprocess: Postprocess, deadline: float) -> Decompressed:
        decided = model.codec.decided(stream, postprocess)
        symbols, reading = await self._in_coder(entropy_worker.read, model.codec.name, decided)
        size = padded(stream.height, stream.width)
        picture, timings = await self._on_device(Job(model.reconstruct, symbols, size, stream.pixels, deadline))
        self._metrics.entropy_coded("decompress", symbols.coded)
        post_processor = model.codec.post_processor if decided.postprocess else None
        return Decompressed(picture, post_processor, reading + timings)

    async def _decompress_hybrid(self, stream: Bitstream, postprocess: Postprocess, deadline: float) -> Decompressed:
        begun = time.monotonic()
        picture, source = await self.on_image_thread("decode", self.models.hybrid.decode_av1, stream, postprocess=postprocess)
        timings = Timings(avif=time.monotonic() - begun)
        if source is None:
            return Decompressed(picture, None, timings)
        loaded = self.models.post_processor()
        improved, improving = await self._improve(loaded, picture, source, deadline)
        return Decompressed(improved, loaded.post_processor, timings + improving)

    async def enhance(self, picture: Picture, source: Source, *, file_bytes: int, deadline: float = math.inf) -> Enhanced:
        """A picture as its codec gave it back, from a file of so many bytes, made better.

        Raises `SourceError`, `NoPostProcessorError`, `EngineError`s.
        """
        improved, timings = await self._improve(self.models.post_processor(), picture, source, deadline)
        self._metrics.enhanced(picture.pixels, file_bytes)
        return Enhanced(improved, timings)

    async def _improve(self, loaded: DevicePostProcessor, picture: Picture, source: Source, deadline: float) -> tuple[Picture, Timings]:
        size = loaded.post_processor.padded(picture.height, picture.width)
        return await self._on_device(Job(loaded.improve, EnhanceTask(picture, source), size, picture.pixels, deadline))

    async def _refine(
        self, model: DeviceModel, task: QuantiseTask, size: tuple[int, int], effort: int, until: float, deadline: float
    ) -> tuple[Quantised, Timings, int]:
        """Quantise with effort; gives also the effort that there was time for."""
        refinement = EffortDeadline(effort, until=until, between=self._device.run_between, wanted=lambda: self._accepting)
        seconds = self._device.seconds_per_pixel * math.prod(size)
        job = Job(model.refine, RefineTask(task, refinement, seconds), size, task.picture.pixels, deadline, long=True)
        try:
            quantised, timings = await self._on_device(job)
        except asyncio.CancelledError:
            refinement.abandoned = True
            raise
        paused = Timings(queue=refinement.paused, device=-refinement.paused)
        return quantised, timings + paused, refinement.reached

    async def _on_device(self, job: Job) -> tuple[Any, Timings]:
        self._queue.put(job)
        try:
            result = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:  # a deadline, or a client gone; the future is cancelled already
            self._queue.discard(job)
            raise
        return result, Timings(queue=job.queue_seconds, device=job.device_seconds)

    async def _in_coder(self, function: Callable[[Unpack[_Arguments]], _T], *arguments: *_Arguments) -> tuple[_T, Timings]:
        begun = time.monotonic()
        with _memory():
            result = await self._entropy.run(function, *arguments)
        return result, Timings(entropy=time.monotonic() - begun)


@contextmanager
def _memory() -> Iterator[None]:
    """What is out of memory beside the device is the same to the client."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError("the server has not enough memory for this picture", retry_after=30) from error

"""The device threads, usually one: load the models, own them, and run batch after batch.

Everything that touches a network happens here, so that there is one place that must not die. It
answers for every job it takes:

- A batch that fails is halved until only the offender fails. Out of memory is one such failure:
  halves need less.
- A large picture or one with effort does not keep others waiting: in its pauses the device runs
  batches of shorter jobs, on one thread as well. A batch whose results nobody can use any more ends
  at its next pause.
- An error that the device does not recover from (a CUDA context is lost for good after most of
  them), or anything that is no `Exception`, ends its thread. All that wait are answered, and
  `silence` becomes infinite, which turns /livez red: restart the process.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress

import torch

from models.errors import CodecError
from models.progress import Progress

from ..metrics import Metrics
from . import memory
from .errors import AbandonedError, DeadlineExceededError, EngineError, OutOfMemoryError, UnavailableError
from .queue import AnyJob, JobQueue

# Cost of any batch, however small, in pixels (measured: 26,000, quantising on a core with AVX-512).
OVERHEAD_PIXELS = 1 << 15
_IDLE_BEAT_SECONDS = 0.5
_TIDY_SECONDS = 60.0  # without work, until what is free goes back to the system
_NEWEST_WEIGHT = 0.2  # of the last batch in the running mean of seconds per pixel
_SLOWER_WEIGHT = 0.02  # of a slower batch in the best seconds per pixel
_log = logging.getLogger(__name__)


class DeviceError(Exception):
    """The device failed on a job in a way that nobody foresaw: an internal error.

    The cause is attached and logged.
    """


class DeviceThread:
    """Threads around `JobQueue.take`, with a pulse.

    A GPU gets one thread, a CPU one for each core (its lanes): two pictures on one core each are
    done in two thirds of the time that they take one after the other on two. A picture that is
    alone gets all the cores.

    Args:
        queue: where jobs come from.
        load: runs first, in the first thread, and gives a first `seconds_per_pixel`.
        metrics: of the service.
        lanes: threads; beyond 1, jobs must stand being run at the same time.

    Attributes:
        ready: resolves when `load` has run.
        seconds_per_pixel: that quantising a padded pixel takes, from recent batches of all kinds
            and sizes: of thumbnails alone too, what a pixel of a large picture will cost.
        best_seconds_per_pixel: the same at its best, which a loaded machine comes back to; follows
            what is slower by a fiftieth a batch.
    """

    def __init__(
        self, queue: JobQueue, load: Callable[[], float], metrics: Metrics, *, lanes: int = 1
    ) -> None:
        self.ready: Future[None] = Future()
        self.seconds_per_pixel = 0.0
        self.best_seconds_per_pixel = 0.0
        self._queue = queue
        self._load = load
        self._metrics = metrics
        self._cores = 1
        self._busy = 0  # threads with a batch
        self._counting = threading.Lock()
        self._lanes = [
            threading.Thread(target=self._run, args=(lane,), name=f"device-{lane}", daemon=True)
            for lane in range(lanes)
        ]
        self._pulses: dict[threading.Thread, float] = {}  # of the lanes that were started
        # Seconds that each lane has lent, in all, to others in the middle of its long jobs.
        self._lent: defaultdict[threading.Thread, float] = defaultdict(float)

    def start(self) -> None:
        """Begin; then wait for `ready`."""
        self._start(self._lanes[0])

    def join(self, timeout: float) -> None:
        """Wait until the queue is closed and its last job answered, or `timeout` seconds."""
        end = time.monotonic() + timeout
        for lane in list(self._pulses):
            lane.join(max(0.0, end - time.monotonic()))

    @property
    def silence(self) -> float:
        """Seconds since the most silent thread was last seen between two batches.

        Infinite when one has ended, or none was started.
        """
        pulses = list(self._pulses.items())
        now = time.monotonic()
        return max((now - pulse if lane.is_alive() else math.inf for lane, pulse in pulses), default=math.inf)

    def _start(self, lane: threading.Thread) -> None:
        self._pulses[lane] = time.monotonic()
        lane.start()

    def _beat(self) -> float:
        now = self._pulses[threading.current_thread()] = time.monotonic()
        return now

    def _run(self, lane: int) -> None:
        if lane == 0 and not self._loaded():
            return
        tidy_at = math.inf
        try:
            while (batch := self._queue.take(_IDLE_BEAT_SECONDS)) is not None:
                now = self._beat()
                if batch:
                    with self._working():
                        self._run_taken(batch)
                        large = batch[0].rank > 0
                        del batch  # and with it pictures and symbols
                        if large:
                            memory.give_back()
                    tidy_at = self._beat() + _TIDY_SECONDS
                elif now >= tidy_at and not self._busy:
                    memory.give_back()
                    tidy_at = math.inf
        except BaseException as error:
            _log.critical("a device thread has ended; restart the process", exc_info=error)
        finally:
            _fail(self._queue.abandon(), UnavailableError("the device failed", retry_after=30))

    def _loaded(self) -> bool:
        """Load, and start the other lanes; False when that failed."""
        try:
            self.seconds_per_pixel = self.best_seconds_per_pixel = self._load()
            self._cores = torch.get_num_threads()
            memory.give_back()  # 100 MB: weights as they were read, self-checks, the warm-up
            for other in self._lanes[1:]:
                self._start(other)
        except BaseException as error:
            self._queue.close()
            self.ready.set_exception(error)
            return False
        self._beat()
        self.ready.set_result(None)
        return True

    def run_between(self, rank: int) -> None:
        """Beat, and run one batch of jobs of a lower rank, if any waits.

        To be called in the middle of a job of this rank, on its thread.
        """
        lane = threading.current_thread()
        begun, lent = self._beat(), self._lent[lane]
        if batch := self._queue.take_between(rank):
            self._run_taken(batch)
        self._queue.done_between()
        self._share_cores()
        # What the batch lent in its own middle is part of this.
        self._lent[lane] = lent + time.monotonic() - begun

    def _run_taken(self, batch: Sequence[AnyJob]) -> None:
        now = time.monotonic()
        for job in batch:
            job.queue_seconds = now - job.queued_at
            self._metrics.stage("queue", job.queue_seconds)
        self._run_batch(batch)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Count this thread among the busy ones, and give it its share of the cores."""
        with self._counting:
            self._busy += 1
        try:
            self._share_cores()
            yield
        finally:
            with self._counting:
                self._busy -= 1

    def _share_cores(self) -> None:
        """Give this thread its share of the cores: all of them while nobody else has work."""
        if len(self._lanes) > 1:
            working = min(len(self._lanes), self._busy + len(self._queue))
            torch.set_num_threads(max(1, self._cores // max(1, working)))

    def _run_batch(self, batch: Sequence[AnyJob]) -> None:
        lane = threading.current_thread()
        lent_before = self._lent[lane]
        begun = self._beat()
        failure: Exception | None = None
        results: Sequence[object] = ()
        try:
            results = batch[0].work([job.task for job in batch], _Pauses(self, batch))
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} jobs")
        except Exception as error:
            failure = error
        lent = self._lent[lane] - lent_before
        seconds = self._beat() - begun - lent
        for job in batch:
            job.queue_seconds += lent
            job.device_seconds += seconds
        if failure is not None:
            self._recover(batch, failure)
            return
        self._measure(batch, seconds)
        for job, result in zip(batch, results, strict=True):
            with suppress(InvalidStateError):  # another thread died, and answered for all
                job.future.set_result(result)

    def _measure(self, batch: Sequence[AnyJob], seconds: float) -> None:
        padded_pixels = sum(job.padded_pixels for job in batch)
        self._metrics.batch(len(batch), pixels=sum(job.pixels for job in batch), padded_pixels=padded_pixels)
        if not all(job.rate for job in batch):
            return
        quantised = sum(job.rate * job.padded_pixels for job in batch)
        newest = seconds / (quantised + OVERHEAD_PIXELS) / self._busy
        mean = self.seconds_per_pixel or newest
        self.seconds_per_pixel = (1 - _NEWEST_WEIGHT) * mean + _NEWEST_WEIGHT * newest
        best = self.best_seconds_per_pixel or newest
        self.best_seconds_per_pixel = min(newest, (1 - _SLOWER_WEIGHT) * best + _SLOWER_WEIGHT * newest)

    def _recover(self, batch: Sequence[AnyJob], failure: Exception) -> None:
        """Run each half by itself, or fail the job that is left, or all that nobody waits for.

        Raises what the device does not recover from.
        """
        traceback.clear_frames(failure.__traceback__)  # they hold the batch's tensors
        if isinstance(failure, torch.AcceleratorError):
            raise failure
        if isinstance(failure, AbandonedError | DeadlineExceededError):
            _fail(batch, failure)
            return
        if exhausted := _is_out_of_memory(failure):
            self._metrics.out_of_memory()
            torch.cuda.empty_cache()
        if len(batch) > 1:
            del failure
            half = (len(batch) + 1) // 2
            self._run_batch(batch[:half])
            self._run_batch(batch[half:])
            return
        if exhausted:
            height, width = batch[0].size
            _log.error("the device has no memory for a job of %dx%d pixels", width, height)
            failure = OutOfMemoryError(
                "the device has not enough memory for a picture of this size", retry_after=30
            )
        elif not isinstance(failure, CodecError | EngineError):
            _log.error("a job failed on the device", exc_info=failure)
            fault = DeviceError(f"the device failed: {type(failure).__name__}")
            fault.__cause__ = failure
            failure = fault
        _fail(batch, failure)


class _Pauses(Progress):
    """Ends a batch that nobody waits for, and lends the device of one that takes long."""

    def __init__(self, device: DeviceThread, batch: Sequence[AnyJob]) -> None:
        self._device = device
        self._batch = batch

    def pause(self) -> None:
        """Let shorter jobs run.

        Raises:
            AbandonedError: nobody waits for any result.
            DeadlineExceededError: it is too late for all that somebody still waits for.
        """
        if rank := self._batch[0].rank:
            self._device.run_between(rank)
        wanted = [job for job in self._batch if not job.abandoned]
        if not wanted:
            raise AbandonedError
        if time.monotonic() > max(job.deadline for job in wanted):
            raise DeadlineExceededError("the request took too long", retry_after=5)


def _is_out_of_memory(error: Exception) -> bool:
    """Recognise what PyTorch or NumPy raise without memory.

    PyTorch's allocator for the CPU has no type of its own.
    """
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _fail(jobs: Iterable[AnyJob], error: Exception) -> None:
    for job in jobs:
        with suppress(InvalidStateError):  # answered or cancelled already
            job.future.set_exception(error)

"""The device thread: loads the models, owns them, and runs one batch after another until told to stop.

Everything that touches a network happens here, so that there is one place that must not die. It answers for every job it takes:

- A batch that fails is halved until only the offender fails. Out of memory is one such failure: halves need less.
- An error that the device does not recover from (a CUDA context is lost for good after most of them), or anything that is no `Exception`,
  ends the thread. All that wait are answered, and `silence` becomes infinite, which turns /livez red: restart the process.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import torch

from models.errors import CodecError

from ..metrics import Metrics
from .errors import EngineError, OutOfMemoryError, UnavailableError
from .queue import Job, JobQueue

_IDLE_BEAT_SECONDS = 0.5
_log = logging.getLogger(__name__)


class DeviceError(Exception):
    """The device failed on a job in a way that nobody foresaw: an internal error. The cause is attached and logged."""


class DeviceThread:
    """A thread around `JobQueue.take`, with a pulse. `load` runs in it first; `ready` resolves when it has."""

    def __init__(self, queue: JobQueue, load: Callable[[], None], metrics: Metrics) -> None:
        self.ready: Future[None] = Future()
        self.seconds_per_pixel = 0.0  # padded, of recent batches
        self._queue = queue
        self._load = load
        self._metrics = metrics
        self._pulse = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)

    def start(self) -> None:
        """Begin; then wait for `ready`."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait until the queue is closed and its last job answered, or `timeout` seconds."""
        self._thread.join(timeout)

    @property
    def silence(self) -> float:
        """Seconds since the thread was last seen between two batches; infinite when it has ended."""
        return time.monotonic() - self._pulse if self._thread.is_alive() else float("inf")

    def _run(self) -> None:
        try:
            self._load()
        except BaseException as error:
            self._queue.close()
            self.ready.set_exception(error)
            return
        self._pulse = time.monotonic()
        self.ready.set_result(None)
        try:
            while (batch := self._queue.take(_IDLE_BEAT_SECONDS)) is not None:
                self._pulse = time.monotonic()
                for job in batch:
                    job.queue_seconds = self._pulse - job.queued_at
                    self._metrics.stage("queue", job.queue_seconds)
                if batch:
                    self._run_batch(batch)
        except BaseException as error:
            _log.critical("the device thread has ended; restart the process", exc_info=error)
        finally:
            _fail(self._queue.abandon(), UnavailableError("the device failed", retry_after=30))

    def _run_batch(self, batch: Sequence[Job]) -> None:
        begun = self._pulse = time.monotonic()
        failure: Exception | None = None
        results: Sequence[object] = ()
        try:
            results = batch[0].work([job.task for job in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} jobs")
        except Exception as error:
            failure = error
        self._pulse = time.monotonic()
        seconds = self._pulse - begun
        for job in batch:
            job.device_seconds += seconds
        if failure is not None:
            self._recover(batch, failure)
            return
        padded_pixels = sum(job.padded_pixels for job in batch)
        self._metrics.batch(len(batch), pixels=sum(job.pixels for job in batch), padded_pixels=padded_pixels)
        measured = seconds / padded_pixels
        self.seconds_per_pixel = 0.8 * self.seconds_per_pixel + 0.2 * measured if self.seconds_per_pixel else measured
        for job, result in zip(batch, results, strict=True):
            job.future.set_result(result)

    def _recover(self, batch: Sequence[Job], failure: Exception) -> None:
        """Run each half by itself, or fail the job that is left; raises what the device does not recover from."""
        traceback.clear_frames(failure.__traceback__)  # they hold the batch's tensors
        if isinstance(failure, torch.AcceleratorError):
            raise failure
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
            failure = OutOfMemoryError("the device has not enough memory for a picture of this size", retry_after=30)
        elif not isinstance(failure, CodecError | EngineError):
            _log.error("a job failed on the device", exc_info=failure)
            fault = DeviceError(f"the device failed: {type(failure).__name__}")
            fault.__cause__ = failure
            failure = fault
        _fail(batch, failure)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether this is what PyTorch or NumPy raise without memory; PyTorch's allocator for the CPU has no type of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def _fail(jobs: Iterable[Job], error: Exception) -> None:
    for job in jobs:
        with suppress(InvalidStateError):  # answered or cancelled already
            job.future.set_exception(error)

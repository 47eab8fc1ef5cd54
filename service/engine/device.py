"""The device thread: loads the models, owns them, and runs one batch after another until told to stop.

Everything that touches a network happens here, so that there is one place that must not die. It answers for every job it takes: a batch
that fails is run again one job at a time, so that only the offender fails, and whatever ends the thread fails all that wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from models.errors import CodecError

from ..metrics import Metrics
from .errors import UnavailableError
from .queue import Job, JobQueue

_IDLE_BEAT_SECONDS = 0.5
_log = logging.getLogger(__name__)


class DeviceError(Exception):
    """The device failed in a way that is not the job's fault; the cause is attached and logged."""


class DeviceThread:
    """A thread around `JobQueue.take`, with a pulse. `prepare` runs in it first; `ready` resolves when it has."""

    def __init__(self, queue: JobQueue, prepare: Callable[[], None], metrics: Metrics) -> None:
        self.ready: Future[None] = Future()
        self.seconds_per_pixel = 0.0  # of recent batches, for Retry-After
        self._queue = queue
        self._prepare = prepare
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
            self._prepare()
        except BaseException as error:
            self._queue.close()
            self.ready.set_exception(error)
            return
        self._pulse = time.monotonic()
        self.ready.set_result(None)
        try:
            self._serve()
        finally:
            # Reached in order when the queue is closed and empty; otherwise the thread is dying, and nobody may wait for it.
            self._queue.close()
            while batch := self._queue.take(0):
                _fail(batch, UnavailableError("the device thread has ended", retry_after=30))

    def _serve(self) -> None:
        while (batch := self._queue.take(_IDLE_BEAT_SECONDS)) is not None:
            self._pulse = time.monotonic()
            try:
                for job in batch:
                    job.queue_seconds = self._pulse - job.queued_at
                    self._metrics.stage("queue", job.queue_seconds)
                self._run_batch(batch)
            except BaseException as error:  # a fault of this class: the thread ends, but nobody waits for ever
                _fail([job for job in batch if not job.future.done()], error)
                raise

    def _run_batch(self, batch: Sequence[Job]) -> None:
        if not batch:
            return
        begun = self._pulse = time.monotonic()
        try:
            answers = list(zip(batch, batch[0].work([job.task for job in batch]), strict=True))
        except BaseException as error:  # the entropy coder's PanicException is no Exception
            if len(batch) == 1:
                _fail(batch, error)
            else:
                for job in batch:
                    self._run_batch([job])
            return
        seconds = time.monotonic() - begun
        self._metrics.stage("device", seconds)
        self._metrics.batch_images.observe(len(batch))
        measured = seconds / sum(job.pixels for job in batch)
        self.seconds_per_pixel = 0.8 * self.seconds_per_pixel + 0.2 * measured if self.seconds_per_pixel else measured
        for job, result in answers:
            job.device_seconds = seconds
            job.future.set_result(result)


def _fail(batch: Sequence[Job], error: BaseException) -> None:
    if not isinstance(error, CodecError | UnavailableError):
        _log.error("a job failed on the device", exc_info=error)
        fault = DeviceError(f"the device failed: {type(error).__name__}")
        fault.__cause__ = error
        error = fault
    for job in batch:
        job.future.set_exception(error)

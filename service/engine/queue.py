"""Jobs on their way to the device: a queue between the event loop and one thread, emptied in batches.

There is no timer. The device takes what waits the moment it is free, so that an idle service adds no latency and batches grow by themselves
under load (the loop of text-embeddings-inference). The oldest job decides what kind of batch it is; others of its kind join it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from .errors import DeadlineExceededError, UnavailableError

Work = Callable[[Sequence[Any]], Sequence[Any]]
"""A batch of tasks in, the result of each out, in order."""


@dataclass(slots=True, eq=False)
class Job:
    """One task for the device. Jobs with the same `work` may share a batch; times are of `time.monotonic`."""

    work: Work
    task: Any
    pixels: int
    deadline: float
    future: Future[Any] = field(default_factory=Future)
    queued_at: float = field(default_factory=time.monotonic)
    queue_seconds: float = 0.0
    device_seconds: float = 0.0


class JobQueue:
    """First in, first out, apart from jobs that join the batch of an older one of their kind."""

    def __init__(self, max_batch_pixels: int) -> None:
        self._max_batch_pixels = max_batch_pixels
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Append a job. Raises `UnavailableError` once closed."""
        with self._changed:
            if self._closed:
                raise UnavailableError("the service is shutting down", retry_after=10)
            self._jobs.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Accept no more; what is queued is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self, patience: float) -> list[Job] | None:
        """The next batch; an empty one after `patience` seconds without work; None when closed and empty.

        Cancelled jobs are dropped here and late ones answered with `DeadlineExceededError`; both cost the device nothing.
        """
        with self._changed:
            if not self._jobs and not self._closed:
                self._changed.wait(patience)
            if not self._jobs:
                return None if self._closed else []
            return self._next_batch()

    def _next_batch(self) -> list[Job]:
        batch: list[Job] = []
        pixels = 0
        passed_over: deque[Job] = deque()
        while self._jobs:
            job = self._jobs.popleft()
            if batch and (job.work != batch[0].work or pixels + job.pixels > self._max_batch_pixels):
                passed_over.append(job)
            elif job.future.set_running_or_notify_cancel():
                if time.monotonic() > job.deadline:
                    job.future.set_exception(DeadlineExceededError("the request waited too long in the queue", retry_after=5))
                else:
                    batch.append(job)
                    pixels += job.pixels
        self._jobs = passed_over
        return batch

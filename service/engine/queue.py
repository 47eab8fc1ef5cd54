"""Jobs on their way to the device: a queue between the event loop and its threads.

It is emptied in batches, and there is no timer: the device takes what waits the moment it is free,
so that an idle service adds no latency and batches grow by themselves under load (the loop of
text-embeddings-inference). What goes into a batch:

- The oldest job heads it, always. Jobs that share its network and its padded size join it, oldest
  first, up to the pixel budget.
- A joiner overtakes older jobs of other sizes. All in all a job is overtaken by at most
  `MAX_OVERTAKING_BUDGETS` budgets of pixels, so that a stream of small pictures delays a large one
  by no more than that many full batches. The cap is in pixels and not in seconds, because under
  overload everybody is old: a cap on age would then undo batching just when it is needed most.

- Of several threads, one with nothing to do leaves a few small jobs to a thread that runs others of
  their kind, which takes them all when it is done: a batch costs as much as two thumbnails before
  its first one. Enough of them make a batch of their own at once.

A batch is chosen when the device is free, not one ahead: whoever comes while the device works can
still join. What could be prepared ahead is prepared for each job before it is queued, on other
threads: pixels decoded, alpha sections made, streams read.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Generic, TypeAlias, TypeVar

from models.progress import Progress

from .costs import is_large
from .errors import DeadlineExceededError, UnavailableError

# Pixels that are worth a batch of their own beside one of their kind: a fifth of it is overhead.
WORTH_A_BATCH = 1 << 17
MAX_OVERTAKING_BUDGETS = 4  # with eight sizes in equal shares, batches are still 90 % full

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(slots=True, eq=False)
class Job(Generic[_Task, _Result]):
    """One task for the device. Times are on `time.monotonic`'s clock, durations in seconds.

    Attributes:
        work: takes a batch of tasks and gives the result of each, in order. It pauses its progress
            every part of a second, and lets through what that raises. Jobs with an equal `work` and
            an equal `size` may share a batch.
        task: what `work` takes.
        size: padded height and width, in pixels.
        pixels: of the picture, without padding.
        deadline: when its result is of no more use.
        long: takes whatever time there is; see `effort`.
        rate: what a padded pixel of it costs the device, against one that is quantised (`costs`); 0
            where nobody can say.
        future: of the result.
        abandoned: nobody waits for the result any more.
        queued_at: when it was made.
        overtaken: padded pixels of younger jobs that went before it.
        queue_seconds: how long it waited, for others in between too; set when the future is.
        device_seconds: how long its batches ran; set when the future is.
    """

    work: Callable[[Sequence[_Task], Progress], Sequence[_Result]]
    task: _Task
    size: tuple[int, int]
    pixels: int
    deadline: float = math.inf
    long: bool = False
    rate: float = 1.0
    abandoned: bool = False
    future: Future[_Result] = field(default_factory=Future)
    queued_at: float = field(default_factory=time.monotonic)
    overtaken: int = 0
    queue_seconds: float = 0.0
    device_seconds: float = 0.0

    @property
    def padded_pixels(self) -> int:
        """Pixels that the device has to do."""
        return self.size[0] * self.size[1]

    @property
    def rank(self) -> int:
        """Rank by time on the device: 0 for little, 1 for a large picture or what takes as long,
        2 for one with effort.

        In its pauses, the device runs jobs of a lower rank.
        """
        return 2 if self.long else 1 if is_large(round(self.padded_pixels * max(1.0, self.rate))) else 0

    def shares_batch_with(self, head: AnyJob) -> bool:
        """Say whether it may join the batch of an older job; only those of rank 0 have company."""
        return not head.rank and self.work == head.work and self.size == head.size


AnyJob: TypeAlias = Job[Any, Any]
"""A job of the queue, where jobs of all kinds wait for one device."""


class JobQueue:
    """First in, first out, apart from jobs that join the batch of an older one of their size.

    Args:
        max_batch_pixels: padded pixels of a batch; a larger job goes alone.
    """

    def __init__(self, max_batch_pixels: int) -> None:
        self._max_batch_pixels = max_batch_pixels
        # In order of arrival; a dict, so that any can be taken out cheaply.
        self._jobs: dict[AnyJob, None] = {}
        self._changed = threading.Condition()
        self._closed = False
        # By thread, the last batch that it took; that which runs in the middle of it; and so on.
        self._handed_out: dict[int, list[list[AnyJob]]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def oldest_age(self) -> float:
        """Seconds that the oldest job has waited; 0 when there is none."""
        with self._changed:
            oldest = next(iter(self._jobs), None)
        return time.monotonic() - oldest.queued_at if oldest else 0.0

    def put(self, job: AnyJob) -> None:
        """Append a job. Raises `UnavailableError` once closed."""
        with self._changed:
            if self._closed:
                raise UnavailableError("the service is shutting down", retry_after=10)
            self._jobs[job] = None
            self._changed.notify()

    def ahead_of(self, job: AnyJob) -> int | None:
        """Count the jobs that have waited longer than one; None when it does not wait."""
        with self._changed:
            return next((number for number, waiting in enumerate(self._jobs) if waiting is job), None)

    def discard(self, job: AnyJob) -> None:
        """Take a job out that nobody waits for any more, or have it end with its next pause.

        Its memory should not wait for its turn.
        """
        job.abandoned = True
        with self._changed:
            self._jobs.pop(job, None)

    def close(self) -> None:
        """Accept no more; what is queued is still handed out."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def abandon(self) -> list[AnyJob]:
        """Close, for a device that will not come back.

        Returns:
            All jobs that were handed out last, to any thread, or still wait.
        """
        with self._changed:
            self._closed = True
            left = [*chain.from_iterable(chain.from_iterable(self._handed_out.values())), *self._jobs]
            self._jobs.clear()
            return left

    def take(self, patience: float) -> list[AnyJob] | None:
        """Take the next batch.

        Cancelled jobs are dropped here and late ones answered with `DeadlineExceededError`; both
        cost the device nothing.

        Args:
            patience: seconds to wait for work.

        Returns:
            The batch; an empty one when no work came; None when closed and empty.
        """
        with self._changed:
            self._handed_out[threading.get_ident()] = []
            if self._nothing_to_take() and not self._closed:
                self._changed.wait(patience)
            if self._closed and not self._jobs:
                return None
            if self._nothing_to_take() and not self._closed:
                return []
            batch = self._next_batch(list(self._jobs))
            self._changed.notify()  # another thread may take what is of another kind
            return batch

    def take_between(self, rank: int) -> list[AnyJob]:
        """Take a batch, perhaps empty, to run in the middle of a job of this rank.

        Call `done_between` when it has run.
        """
        with self._changed:
            return self._next_batch([job for job in self._jobs if job.rank < rank])

    def done_between(self) -> None:
        """Take note that all jobs of the last batch by `take_between` are answered."""
        with self._changed:
            self._handed_out[threading.get_ident()].pop()

    def _nothing_to_take(self) -> bool:
        """Say whether there are no jobs, or so few that a thread with others of their kind should
        take them next.
        """
        head = next(iter(self._jobs), None)
        if head is None:
            return True
        running = [batches[0] for batches in self._handed_out.values() if batches and batches[0]]
        if not any(head.shares_batch_with(batch[0]) for batch in running):
            return False
        enough = min(WORTH_A_BATCH, self._max_batch_pixels)
        return sum(job.padded_pixels for job in self._jobs) < enough

    def _next_batch(self, jobs: Sequence[AnyJob]) -> list[AnyJob]:
        batch: list[AnyJob] = []
        # At once and not when it is full: a job must always be either handed out or waiting.
        self._handed_out[threading.get_ident()].append(batch)
        # Jobs that stay behind, and for each the pixels in the batch that are older than it.
        overtaken: list[tuple[AnyJob, int]] = []
        pixels = 0
        max_pixels = self._max_batch_pixels
        for job in jobs:
            if batch and not job.shares_batch_with(batch[0]):
                overtaken.append((job, pixels))
                room = MAX_OVERTAKING_BUDGETS * self._max_batch_pixels - job.overtaken
                max_pixels = min(max_pixels, pixels + room)
                continue
            if batch and pixels + job.padded_pixels > max_pixels:
                break
            batch.append(job)
            del self._jobs[job]
            if not _begin(job):
                batch.pop()
                continue
            pixels += job.padded_pixels
        for job, older in overtaken:
            job.overtaken += pixels - older
        return batch


def _begin(job: AnyJob) -> bool:
    """Mark a job as running; False when nobody waits for it any more, or it is too late for it."""
    if not job.future.set_running_or_notify_cancel():
        return False
    if time.monotonic() > job.deadline:
        job.future.set_exception(
            DeadlineExceededError("the request waited too long in the queue", retry_after=5)
        )
        return False
    return True

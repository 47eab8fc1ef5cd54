"""Work of the device: tasks, and the batch operations that take them.

They quantise, reconstruct, measure what compressing did, compare and improve pictures, and pause
their progress between tiles and layers; see `Job.work`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from models import Picture, Target
from models.learned.codec import LearnedCodec
from models.learned.symbols import Quantised, Symbols
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source
from models.progress import Progress

from ..metrics import Metrics
from .effort import EffortDeadline
from .errors import AbandonedError, DeadlineExceededError
from .results import Measure


@dataclass(frozen=True, slots=True, eq=False)
class QuantiseTask:
    """One picture with its alpha section, and its budget."""

    picture: Picture
    alpha: bytes | None
    target: Target


@dataclass(frozen=True, slots=True, eq=False)
class RefineTask:
    """One picture to quantise with effort.

    Attributes:
        quantise: the picture and its budget.
        deadline: ends the refinement in time.
        quantise_seconds: about what the picture takes without effort.
    """

    quantise: QuantiseTask
    deadline: EffortDeadline
    quantise_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class MeasureTask:
    """Symbols in a stream, the picture that it was made from, and what to measure."""

    symbols: Symbols
    original: Picture
    measures: frozenset[Measure]


@dataclass(frozen=True, slots=True, eq=False)
class CompareTask:
    """A decoded picture, the one that it was made from, and what to measure."""

    decoded: Picture
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

    def improve(self, tasks: Sequence[EnhanceTask], progress: Progress) -> list[Picture]:
        """Take artefacts out of pictures, in the order of the tasks."""
        with self._metrics.stage_timer("device"):
            return self.post_processor.improve(
                [task.picture for task in tasks], [task.source for task in tasks], progress
            )


class DeviceModel:
    """A codec on the device, as batch operations for the queue; results are in the tasks' order."""

    def __init__(self, codec: LearnedCodec, metrics: Metrics) -> None:
        self.codec = codec
        self._metrics = metrics

    def quantise(self, tasks: Sequence[QuantiseTask], progress: Progress) -> list[Quantised]:
        """Find each picture's position and its symbols there. All probes run as one batch."""
        begun = time.monotonic()
        quantised = self.codec.quantise(
            [task.picture for task in tasks],
            [task.target for task in tasks],
            [task.alpha for task in tasks],
            progress=progress,
        )
        searching = quantised[0].search_seconds
        self._metrics.stage("rate_control", searching)
        self._metrics.stage("device", time.monotonic() - begun - searching)
        return quantised

    def refine(self, tasks: Sequence[RefineTask], progress: Progress) -> list[Quantised]:
        """Quantise one picture with effort, or without where effort cannot even begin in time."""
        (task,) = tasks
        deadline = task.deadline
        deadline.begin(progress)
        plain = task.quantise
        if not deadline.allows_start(task.quantise_seconds):
            self._metrics.refined("skipped")
            return self.quantise([plain], progress)
        begun = time.monotonic()
        try:
            (quantised,) = self.codec.quantise(
                [plain.picture], [plain.target], [plain.alpha], effort=deadline.effort, progress=deadline
            )
        except (AbandonedError, DeadlineExceededError):
            self._metrics.refined("cut")
            raise
        searching = quantised.search_seconds
        self._metrics.stage("rate_control", searching)
        self._metrics.stage("refine", time.monotonic() - begun - searching - deadline.lent_seconds)
        self._metrics.refined("complete" if deadline.reached == deadline.effort else "cut")
        return [quantised]

    def reconstruct(self, symbols: Sequence[Symbols], progress: Progress) -> list[Picture]:
        """Decode pictures from symbols."""
        with self._metrics.stage_timer("device"):
            return self.codec.reconstruct(symbols, progress)

    def measure(self, tasks: Sequence[MeasureTask], progress: Progress) -> list[dict[Measure, float]]:
        """Decode pictures from symbols, and score them against the originals."""
        with self._metrics.stage_timer("device"):
            decoded = self.codec.reconstruct([task.symbols for task in tasks], progress)
            return [
                self._scores(picture, task.original, task.measures, progress)
                for task, picture in zip(tasks, decoded, strict=True)
            ]

    def compare(self, tasks: Sequence[CompareTask], progress: Progress) -> list[dict[Measure, float]]:
        """Score pictures that were decoded elsewhere against the originals."""
        with self._metrics.stage_timer("device"):
            return [self._scores(task.decoded, task.original, task.measures, progress) for task in tasks]

    def _scores(
        self, decoded: Picture, original: Picture, measures: frozenset[Measure], progress: Progress
    ) -> dict[Measure, float]:
        return {measure: self.codec.score(decoded, original, measure.score, progress) for measure in measures}

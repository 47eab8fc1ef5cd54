"""Work of the device on a batch: quantise, refine, reconstruct, improve, and compare pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from models import Picture, Target
from models.learned.codec import LearnedCodec
from models.learned.symbols import Quantised, Symbols
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source

from ..metrics import Metrics
from .effort import EffortDeadline
from .results import Measure


@dataclass(frozen=True, slots=True, eq=False)
class QuantiseTask:
    """A picture to quantise, with its alpha section and its budget."""

    picture: Picture
    alpha: bytes | None
    target: Target


@dataclass(frozen=True, slots=True, eq=False)
class RefineTask:
    """A picture to quantise with effort; `seconds` is about the time that it takes without."""

    quantise: QuantiseTask
    refinement: EffortDeadline
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class MeasureTask:
    """The content of a stream, the picture that it was made from, and what to measure."""

    symbols: Symbols
    original: Picture
    measures: frozenset[Measure]


@dataclass(frozen=True, slots=True, eq=False)
class EnhanceTask:
    """A picture as its codec gave it back, and the quantiser that its file tells of."""

    picture: Picture
    source: Source


class DevicePostProcessor:
    """A post-processor on the device, as a batch operation for the queue."""

    def __init__(self, post_processor: PostProcessor, metrics: Metrics) -> None:
        self.post_processor = post_processor
        self._metrics = metrics

    def improve(self, tasks: Sequence[EnhanceTask]) -> list[Picture]:
        """Improve pictures, in the order of the tasks."""
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
        """Quantise pictures, each at the position that its budget allows, all probes as one batch."""
        begun = time.monotonic()
        quantised = self.codec.quantise(
            [task.picture for task in tasks],
            [task.target for task in tasks],
            [task.alpha for task in tasks],
        )
        searching = quantised[0].search_seconds
        self._metrics.stage("rate_control", searching)
        self._metrics.stage("device", time.monotonic() - begun - searching)
        return quantised

    def refine(self, tasks: Sequence[RefineTask]) -> list[Quantised]:
        """Refine one picture; where there is no time even to begin, quantise it as without effort."""
        (task,) = tasks
        refinement = task.refinement
        plain = task.quantise
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
        """Synthesise pictures."""
        with self._metrics.stage_timer("device"):
            return self.codec.reconstruct(symbols)

    def measure(self, tasks: Sequence[MeasureTask]) -> list[dict[Measure, float]]:
        """Compare the pictures in streams with their originals."""
        with self._metrics.stage_timer("device"):
            decoded = self.codec.reconstruct([task.symbols for task in tasks])
            return [self._scores(picture, task.original, task.measures) for task, picture in zip(tasks, decoded, strict=True)]

    def compare(self, tasks: Sequence[CompareTask]) -> list[dict[Measure, float]]:
        """Compare pictures that were decoded elsewhere with their originals."""
        with self._metrics.stage_timer("device"):
            return [self._scores(task.decoded, task.original, task.measures) for task in tasks]

    def _scores(self, decoded: Picture, original: Picture, measures: frozenset[Measure]) -> dict[Measure, float]:
        return {measure: self.codec.score(decoded, original, measure.metric) for measure in measures}

"""Stages: where one request spends its time, run and recorded in one place.

The engine and the routes run the stages of a request through one `Stages`. It records each duration for Prometheus,
and for the request itself, which tells it in `Server-Timing`. Batches on the device and the entropy coder belong to
many requests: they record themselves for Prometheus, and `add` takes over this request's share.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from ..metrics import Metrics, Stage
from .errors import OutOfMemoryError

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Stages:
    """The stages of one request.

    Args:
        metrics: of the service.
        image_threads: where files are read and written.

    Attributes:
        seconds: duration of every stage so far, in the order in which they were met. Waiting for a thread counts
            here, and not in Prometheus.
    """

    def __init__(self, metrics: Metrics, image_threads: Executor) -> None:
        self.seconds: dict[str, float] = {}
        self._metrics = metrics
        self._image_threads = image_threads

    async def on_image_thread(self, stage: Stage, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run what reads or writes image files off the event loop, as a stage. Raises what it raises."""
        return await self.on_image_thread_as(stage, stage, function, *args, **kwargs)

    async def on_image_thread_as(self, name: str, stage: Stage, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do so under another name than that of Prometheus' stage."""
        begun = time.perf_counter()
        try:
            return await self.untold(stage, function, *args, **kwargs)
        finally:
            self.add(name, time.perf_counter() - begun)

    async def untold(self, stage: Stage, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do so for Prometheus alone: what takes microseconds is no news to a client."""

        def timed() -> _T:
            with self._metrics.stage_timer(stage):
                return function(*args, **kwargs)

        with out_of_memory_is_told():
            return await asyncio.get_running_loop().run_in_executor(self._image_threads, timed)

    @contextmanager
    def store(self) -> Iterator[None]:
        """Time the body of the `with` as the stage of the store."""
        begun = time.perf_counter()
        try:
            with self._metrics.stage_timer("store"):
                yield
        finally:
            self.add("store", time.perf_counter() - begun)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds that passed in a stage of this request; Prometheus knows of them."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def begin_engine(self) -> None:
        """Give the engine's stages their place in the order. Under `auto` both codecs add to them at the same time."""
        for name in ("queue", "device", "entropy"):
            self.add(name, 0.0)


@contextmanager
def out_of_memory_is_told() -> Iterator[None]:
    """Turn a lack of memory beside the device into the error that the device's own lack is."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemoryError("the server has not enough memory for this picture", retry_after=30) from error

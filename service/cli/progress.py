"""Working through many files: progress bars, how long effort will take, and what becomes of those that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress, TaskID

from .console import err

if TYPE_CHECKING:
    from models.learned.refinement.refiner import Proceed


LONG = 10  # seconds that are worth a word beforehand


def each(sources: Collection[Path], work: Callable[[Path, Proceed], None], description: str) -> bool:
    """Work through the sources, with progress bars for several and for effort. One that fails is told, and the others are still done.

    Returns whether all went well.
    """
    from models.errors import CodecError

    from ..images import ImageError

    well = True
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        files = progress.add_task(description, total=len(sources), visible=len(sources) > 1)
        effort = progress.add_task("Refining", visible=False)

        for source in sources:
            progress.reset(effort, visible=False)
            try:
                work(source, _Refining(source, progress, effort))
            except (CodecError, ImageError, OSError) as error:
                err.print(f"{source}: {error}")
                well = False
            progress.advance(files)
    return well


class _Refining:
    """The `Proceed` of a file: moves its bar, and says after the first iteration how long the others will take, when that is long."""

    def __init__(self, source: Path, progress: Progress, bar: TaskID) -> None:
        self._source = source
        self._progress = progress
        self._bar = bar
        self._begun: float | None = None

    def __call__(self, done: int, of: int) -> bool:
        self._progress.update(self._bar, completed=done, total=of, visible=done < of)
        if done == 0:
            self._begun = time.monotonic()
        elif self._begun is not None:
            seconds = (time.monotonic() - self._begun) / done * (of - done)
            if seconds >= LONG:
                err.print(f"{self._source}: refining takes about {f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'} more")
            self._begun = None
        return True

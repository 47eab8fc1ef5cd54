"""Working through many files: progress bars, how long effort will take, and what becomes of those that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from rich import progress as bars

from models.progress import Progress

from .console import err

LONG_SECONDS = 10  # worth a word beforehand


def each(sources: Collection[Path], work: Callable[[Path, Progress], None], description: str) -> bool:
    """Work through the sources, with progress bars for several and for effort. One that fails is told, and the others are still done.

    Returns whether all went well.
    """
    from models.errors import CodecError

    from ..images import ImageError

    well = True
    with bars.Progress(console=err, transient=True, disable=not err.is_terminal) as shown:
        files = shown.add_task(description, total=len(sources), visible=len(sources) > 1)
        effort = shown.add_task("Refining", visible=False)

        for source in sources:
            shown.reset(effort, visible=False)
            try:
                work(source, _EffortBar(source, shown, effort))
            except (CodecError, ImageError, OSError) as error:
                err.print(f"{source}: {error}")
                well = False
            shown.advance(files)
    return well


class _EffortBar(Progress):
    """Moves the bar of a file, and says after the first iteration how long the others will take, when that is long."""

    def __init__(self, source: Path, shown: bars.Progress, bar: bars.TaskID) -> None:
        self._source = source
        self._shown = shown
        self._bar = bar
        self._begun: float | None = None

    def advance(self, done: int, of: int) -> bool:
        """Never ends the work."""
        self._shown.update(self._bar, completed=done, total=of, visible=done < of)
        if done == 0:
            self._begun = time.monotonic()
        elif self._begun is not None:
            seconds = (time.monotonic() - self._begun) / done * (of - done)
            if seconds >= LONG_SECONDS:
                err.print(f"{self._source}: refining takes about {f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'} more")
            self._begun = None
        return True

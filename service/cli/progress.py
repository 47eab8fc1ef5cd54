"""Work through many files: progress bars, how long effort takes, a line for each that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

from rich import progress as bars

from models.progress import Progress

from .console import err

ANNOUNCED_SECONDS = 10  # effort that takes at least as long is announced


def work_through(sources: Collection[Path], work: Callable[[Path, Progress], None], description: str) -> bool:
    """Do `work` for each source, with a progress bar for several and one for effort.

    A source that fails gets a line that says why, and the others are still done.

    Returns:
        True when all went well.
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
    """Moves the bar of a file, and says after the first iteration how long the others will take.

    It keeps silent when that is less than ANNOUNCED_SECONDS.
    """

    def __init__(self, source: Path, shown: bars.Progress, bar: bars.TaskID) -> None:
        self._source = source
        self._shown = shown
        self._bar = bar
        self._begun: float | None = None

    def advance(self, done: int, of: int) -> bool:
        """Move the bar; never end the work."""
        self._shown.update(self._bar, completed=done, total=of, visible=done < of)
        if done == 0:
            self._begun = time.monotonic()
        elif self._begun is not None:
            seconds = (time.monotonic() - self._begun) / done * (of - done)
            if seconds >= ANNOUNCED_SECONDS:
                left = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
                err.print(f"{self._source}: refining takes about {left} more")
            self._begun = None
        return True

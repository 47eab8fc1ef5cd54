"""Working through many files: progress bars, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from .console import err

if TYPE_CHECKING:
    from models.refinement import Proceed


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

        def refining(done: int, of: int) -> bool:
            progress.update(effort, completed=done, total=of, visible=done < of)
            return True

        for source in sources:
            progress.reset(effort, visible=False)
            try:
                work(source, refining)
            except (CodecError, ImageError, OSError) as error:
                err.print(f"{source}: {error}")
                well = False
            progress.advance(files)
    return well

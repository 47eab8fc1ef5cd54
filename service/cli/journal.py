"""What a run with one budget has found out and made so far, line by line, so that the next run goes on where it was cut off.

Measurements do not depend on the budget: another budget over the same images measures nothing anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.rate_control import Measured


@dataclass(frozen=True, slots=True)
class Sweep:
    """An image, named by the SHA-256 of its file, along the gain axis of a model."""

    image: str
    model: str
    width: int
    height: int
    measured: tuple[Measured, ...]

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


@dataclass(frozen=True, slots=True)
class Made:
    """A stream that was written: of which image, with what it was asked for; its SHA-256, quality, and how its picture came out."""

    image: str
    model: str
    max_bytes: int
    effort: int
    id: str
    quality: float
    result: Measured


class Journal:
    """A file of JSON lines. A line that was cut off by a crash, or is of another version, counts as not written.

    Args:
        path: created with the first entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sweeps: dict[tuple[str, str], Sweep] = {}
        self._made: dict[tuple[str, str, int, int], Made] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                self._take(_parsed(json.loads(line)))
            except (ValueError, TypeError, KeyError):
                continue

    @property
    def ids(self) -> set[str]:
        """SHA-256 of all streams that were ever written."""
        return {made.id for made in self._made.values()}

    def sweep(self, image: str, model: str) -> Sweep | None:
        """What is known of an image."""
        return self._sweeps.get((image, model))

    def made(self, image: str, model: str, max_bytes: int, effort: int) -> Made | None:
        """The stream that was made of an image when the same was asked for."""
        return self._made.get((image, model, max_bytes, effort))

    def add(self, entry: Sweep | Made) -> None:
        """Remember, on the disk too."""
        self._take(entry)
        # A line break on either side: behind what a crash has left of a line, too, this one stands alone.
        with self._path.open("a") as file:
            file.write(f"\n{json.dumps(asdict(entry))}\n")

    def _take(self, entry: Sweep | Made) -> None:
        if isinstance(entry, Sweep):
            self._sweeps[entry.image, entry.model] = entry
        else:
            self._made[entry.image, entry.model, entry.max_bytes, entry.effort] = entry


def _parsed(row: dict[str, Any]) -> Sweep | Made:
    if "measured" in row:
        measured = tuple(Measured(**one) for one in row.pop("measured"))
        return Sweep(**row, measured=measured)
    result = Measured(**row.pop("result"))
    return Made(**row, result=result)

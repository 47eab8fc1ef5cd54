"""The journal of runs with one budget: the next run goes on from what was measured and made.

Measurements do not depend on the budget: another budget over the same images measures nothing anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from models.metadata import Keep
from models.rate_control import Measured


@dataclass(frozen=True, slots=True)
class MeasuredImage:
    """An image along the gain axis of a model.

    Attributes:
        image: SHA-256 of the image's file.
        model: id of the model.
        width, height: in pixels.
        measured: size and distortions at each of `models.collection.QUALITIES`.
    """

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
class MadeStream:
    """A stream that was written.

    Attributes:
        image: SHA-256 of the image's file.
        model: id of the model.
        max_bytes, effort: what the stream was asked for.
        id: SHA-256 of the stream.
        quality: position on the gain axis, [0, 100].
        result: size of the stream and distortions of the picture that it decodes to.
        metadata: what of the file's metadata it was to keep.
    """

    image: str
    model: str
    max_bytes: int
    effort: int
    id: str
    quality: float
    result: Measured
    metadata: Keep = "none"


class Journal:
    """A file of JSON lines; one that a crash cut off, or of another version, counts as not written.

    The names of the fields above are those in the file.

    Args:
        path: created with the first entry.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._adding = Lock()
        self._images: dict[tuple[str, str], MeasuredImage] = {}
        self._streams: dict[tuple[str, str, int, int, str], MadeStream] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                self._take(_parsed(json.loads(line)))
            except (ValueError, TypeError, KeyError):
                continue

    @property
    def ids(self) -> set[str]:
        """SHA-256 of all streams that were ever written."""
        return {stream.id for stream in self._streams.values()}

    def image(self, image: str, model: str) -> MeasuredImage | None:
        """Look up an image's measurements; None when it was not measured."""
        return self._images.get((image, model))

    def stream(
        self, image: str, model: str, max_bytes: int, effort: int, metadata: Keep = "none"
    ) -> MadeStream | None:
        """Look up the stream that was made of an image when the same was asked for."""
        return self._streams.get((image, model, max_bytes, effort, metadata))

    def add(self, entry: MeasuredImage | MadeStream) -> None:
        """Remember, on the disk too."""
        self._take(entry)
        # A line break on either side: this line stands alone even behind one that a crash cut off.
        with self._adding, self._path.open("a") as file:
            file.write(f"\n{json.dumps(asdict(entry))}\n")

    def _take(self, entry: MeasuredImage | MadeStream) -> None:
        if isinstance(entry, MeasuredImage):
            self._images[entry.image, entry.model] = entry
        else:
            asked = (entry.image, entry.model, entry.max_bytes, entry.effort, entry.metadata)
            self._streams[asked] = entry


def _parsed(row: dict[str, Any]) -> MeasuredImage | MadeStream:
    if "measured" in row:
        measured = tuple(Measured(**point) for point in row.pop("measured"))
        return MeasuredImage(**row, measured=measured)
    result = Measured(**row.pop("result"))
    return MadeStream(**row, result=result)

"""Which codec a file is of, and its coarseness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.errors import SourceError

from . import avif, jpeg, webp


@dataclass(frozen=True, slots=True)
class Source:
    """Where a picture's artefacts come from.

    Attributes:
        kind: "avif", "jpeg" or "webp".
        coarseness: of the quantiser, in [0, 1], 1 the coarsest: AV1's base_q_idx / 255, 1 - (quality of the IJG's encoder) / 100, VP8's
            mean quantiser index / 127.
    """

    kind: str
    coarseness: float


_READERS: dict[str, tuple[Callable[[bytes], bool], Callable[[bytes], float]]] = {
    "jpeg": (jpeg.is_jpeg, jpeg.coarseness),
    "webp": (webp.is_webp, webp.coarseness),
    "avif": (avif.is_avif, avif.coarseness),
}


def read(file: bytes) -> Source:
    """The source of the picture in a file.

    Raises:
        SourceError: it is of another format, lossless, or its bitstream does not tell.
    """
    for kind, (matches, coarseness) in _READERS.items():
        if matches(file):
            try:
                return Source(kind, coarseness(file))
            except (IndexError, ValueError, KeyError) as error:
                raise SourceError(f"the {kind} file's quantiser cannot be read: {error}") from error
    raise SourceError("not a JPEG, WebP or AVIF file")

"""Source: the codec that a picture came through, and how coarsely it quantised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from models.bitstream import MAGIC, Bitstream, CodecKind
from models.errors import SourceError
from models.rate_control import Position

from . import avif, jpeg, webp


@dataclass(frozen=True, slots=True)
class Source:
    """The origin of a picture's artefacts.

    Attributes:
        kind: "avif", "jpeg", "webp", or the model id of a learned stream, 8 hex digits: its
            artefacts are those of these very weights.
        coarseness: of the quantiser, in [0, 1], 1 the coarsest: AV1's base_q_idx / 255,
            1 - (quality of the IJG's encoder) / 100, VP8's mean quantiser index / 127, or
            1 - (position on the gain axis).
    """

    kind: str
    coarseness: float

    @classmethod
    def learned(cls, model_id: str, position: Position) -> Source:
        """The source of a learned codec's picture, at a position on the gain axis."""
        return cls(model_id, 1 - position.share)


_READERS: dict[str, tuple[Callable[[bytes], bool], Callable[[bytes], float]]] = {
    "jpeg": (jpeg.is_jpeg, jpeg.coarseness),
    "webp": (webp.is_webp, webp.coarseness),
    "avif": (avif.is_avif, avif.coarseness),
}


def read(file: bytes) -> Source:
    """The source of the picture in an image file or a stream of the learned codec.

    Raises:
        SourceError: it is of another format, lossless, or too broken to tell.
        BitstreamError: a damaged stream; a subclass for each cause.
    """
    if file.startswith(MAGIC) and (header := Bitstream.parse(file)).codec is CodecKind.LEARNED:
        return Source.learned(header.model_id.hex(), header.position)
    for kind, (matches, coarseness) in _READERS.items():
        if matches(file):
            try:
                return Source(kind, coarseness(file))
            except (IndexError, ValueError, KeyError) as error:
                raise SourceError(f"the {kind} file's quantiser cannot be read: {error}") from error
    raise SourceError("not a JPEG, WebP or AVIF file")

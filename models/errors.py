"""All errors that `models` raises on purpose, in one tree.

    CodecError
    ├── BitstreamError          something is wrong with a stream
    │   ├── NotAStreamError         it is something else altogether
    │   ├── NewerVersionError       a later version of the format
    │   ├── OlderVersionError       an earlier one, no longer read
    │   ├── UnknownModelError       a model that is not here
    │   ├── TruncatedStreamError    it ends too early
    │   ├── DamagedStreamError      its checksum or its fields do not hold
    │   └── StreamTooLargeError     it claims more pixels than the caller allows
    ├── TargetError             a budget that contradicts itself or is out of range
    ├── PictureError            pixels that the codec cannot take
    ├── OptionError             an option that has no such value: a codec, an effort, a device
    ├── SourceError             a file that post-processing has no use for
    ├── WeightsError            weights or a card missing, damaged or of another topology
    └── AvifError               the AVIF encoder is missing, failed, or wrote an odd file

A caller who catches `CodecError` catches them all; the service maps each to one HTTP answer.
"""

from __future__ import annotations


class CodecError(Exception):
    """Base of every error that `models` raises on purpose. Its text is fit for users."""


class BitstreamError(CodecError):
    """A stream cannot be decoded; the subclass says why."""


class NotAStreamError(BitstreamError):
    """The bytes do not begin like a Ziggurat stream."""


class NewerVersionError(BitstreamError):
    """The stream was written in a later version of the format."""


class OlderVersionError(BitstreamError):
    """The stream was written in an earlier version of the format, whose models are gone."""


class UnknownModelError(BitstreamError):
    """The stream (or the caller) names a model that is not available here."""

    def __init__(self, model_id: str) -> None:
        # The bare id is the argument, so that pickling restores the error (worker processes).
        super().__init__(model_id)
        self.model_id = model_id

    def __str__(self) -> str:
        return f"model {self.model_id} is not available"


class TruncatedStreamError(BitstreamError):
    """The stream is shorter than its header says."""


class DamagedStreamError(BitstreamError):
    """The checksum does not match, or a field holds what no encoder writes."""


class StreamTooLargeError(BitstreamError):
    """The header claims more pixels than the caller allows."""


class TargetError(CodecError, ValueError):
    """None or several of `bpp`, `max_bytes` and `quality` are given, or one is out of range."""


class PictureError(CodecError, ValueError):
    """It is no image, its pixels are not (H, W, 3) uint8, or a side is 0 or over 16384."""


class OptionError(CodecError, ValueError):
    """An option of a codec (`codec`, `effort`, `postprocess`, `device`) has no such value."""


class SourceError(CodecError):
    """Post-processing was not trained for such a file, or the file does not tell.

    It is of another format, lossless, or of another quality.
    """


class WeightsError(CodecError):
    """A weights file or its card is missing, damaged or of another topology."""


class AvifError(CodecError):
    """Pillow's AVIF encoder is missing, failed, or wrote a file that a hybrid stream cannot hold.

    It is no fault of the picture's.
    """

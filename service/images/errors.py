"""Faults of image files.

ImageError
├── UnsupportedImageError     not a format on the list
├── UnsupportedVariantError   a format on the list, in a form that is not read
├── ImageTooLargeError        the header claims more pixels than allowed
├── AnimatedImageError        more than one frame
├── DamagedImageError         truncated or corrupt
└── FormatLimitError          the picture is too large for the format that it is to be written in

All of them survive pickling, as they are raised in one process and answered in another.
"""

from __future__ import annotations

from typing import Any


class ImageError(Exception):
    """Base of the faults of an image file. Its text is fit for users."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are pickled as a call of their class with the text, which is not what the
        # subclasses take.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(cls: type[ImageError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ImageError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(attributes)
    return error


class UnsupportedImageError(ImageError):
    """The bytes do not begin like an image of a format on the list."""


class UnsupportedVariantError(ImageError):
    """The file is sound, and of a form of its format that is not read.

    Attributes:
        format: the format's name.
        variant: what is not read, in words: "12-bit samples".
    """

    def __init__(self, format: str, variant: str) -> None:
        super().__init__(f"{format} with {variant} is not read")
        self.format = format
        self.variant = variant


class ImageTooLargeError(ImageError):
    """The header claims too many pixels, or too long a side."""


class AnimatedImageError(ImageError):
    """The file holds several frames or pages; `frames` is None when there are too many to count."""

    def __init__(self, frames: int | None) -> None:
        count = frames or "too many"
        super().__init__(f"the image has {count} frames; only still images can be compressed")
        self.frames = frames


class DamagedImageError(ImageError):
    """The file is truncated or corrupt."""


class FormatLimitError(ImageError):
    """The picture is too large for the format that it is to be written in.

    Attributes:
        format: the format's name.
        limit: its longest side, in pixels.
    """

    def __init__(self, format: str, limit: int, width: int, height: int) -> None:
        super().__init__(
            f"a picture of {width}x{height} pixels does not fit into {format}, whose longest side is {limit}"
        )
        self.format = format
        self.limit = limit

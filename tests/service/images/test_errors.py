from __future__ import annotations

import inspect
import pickle

import pytest

from models import errors as codec_errors
from service.images import errors
from service.images.errors import (
    AnimatedImageError,
    DamagedImageError,
    FormatLimitError,
    ImageError,
    ImageTooLargeError,
    UnsupportedImageError,
    UnsupportedVariantError,
)

SAMPLES: list[Exception] = [
    UnsupportedImageError("not an image"),
    UnsupportedVariantError("JPEG", "12-bit samples"),
    ImageTooLargeError("too large"),
    AnimatedImageError(12),
    AnimatedImageError(None),
    DamagedImageError("damaged"),
    FormatLimitError("WEBP", 16_383, 16_384, 2),
    *(
        error(f"text of {name}")
        for name, error in inspect.getmembers(codec_errors, inspect.isclass)
        if issubclass(error, Exception)
    ),
]


@pytest.mark.parametrize("error", SAMPLES, ids=str)
def test_errors_survive_the_way_between_processes(error: Exception) -> None:
    error.args = ("'a.png': " + str(error), *error.args[1:])  # as of one image among many

    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), copy.args) == (type(error), str(error), error.args)
    assert vars(copy) == vars(error)


def test_every_error_is_tried() -> None:
    known = {
        error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, ImageError)
    }
    assert known - {ImageError} == {type(error) for error in SAMPLES if isinstance(error, ImageError)}

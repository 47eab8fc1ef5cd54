"""Pillow, on terms of our own: it sees only files that were checked and stripped before.

What its decoders say of a file goes to nobody's standard error, where logs are JSON.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

# Sizes are checked before Pillow sees a file.
Image.MAX_IMAGE_PIXELS = None


def opened(file: bytes, format: str) -> Image.Image:
    """Open a file of this format by its header. Raises anything on hostile bytes."""
    return Image.open(io.BytesIO(file), formats=(format,))


def loaded(file: bytes, format: str) -> Image.Image:
    """Decode a file of this format. Raises anything on hostile bytes."""
    with silenced():
        image = opened(file, format)
        image.load()
    return image


@contextmanager
def silenced() -> Iterator[None]:
    """Ignore the warnings of Python code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def silenced_library() -> Iterator[None]:
    """Send what C code prints on standard error nowhere: libtiff tells of each fault there."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

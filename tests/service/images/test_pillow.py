from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from service.images import pillow
from tests.service.images.files import gradient, in_8_bits, saved


def test_only_the_named_format_is_opened() -> None:
    file = saved(Image.fromarray(in_8_bits(gradient())), "PNG")

    np.testing.assert_array_equal(np.asarray(pillow.loaded(file, "PNG")), in_8_bits(gradient()))
    with pytest.raises(OSError, match="cannot identify"):
        pillow.opened(file, "GIF")


def test_nothing_is_said_by_python_or_by_c(capfd: pytest.CaptureFixture[str]) -> None:
    with pillow.silenced(), pillow.silenced_library():
        warnings.warn("something", stacklevel=1)
        os.write(2, b"libtiff: something")

    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"

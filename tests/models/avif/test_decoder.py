"""models.avif.decoder: pixels of a file of the size that was promised, or one error."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from models.avif.decoder import decode
from models.errors import DamagedStreamError


def test_only_a_whole_file_of_the_size_is_decoded(photo: Image.Image) -> None:
    file = io.BytesIO()
    photo.save(file, "AVIF", quality=50)
    assert decode(file.getvalue(), width=128, height=96).shape == (96, 128, 3)
    with pytest.raises(DamagedStreamError, match="size"):
        decode(file.getvalue(), width=96, height=128)
    for cut in (b"", file.getvalue()[:-50]):
        with pytest.raises(DamagedStreamError, match="decoded"):
            decode(cut, width=128, height=96)

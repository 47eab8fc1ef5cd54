"""Files that the tests of the command line begin with."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from models.codec import Codec
from models.learned.codec import LearnedCodec


@pytest.fixture
def photo_file(tmp_path: Path, photo: Image.Image) -> Path:
    path = tmp_path / "photo.jpg"
    photo.save(path, quality=95)
    return path


@pytest.fixture
def stream_file(tmp_path: Path, photo: Image.Image, codec: LearnedCodec) -> Path:
    path = tmp_path / "photo.zgt"
    path.write_bytes(Codec(codec).compress(photo, bpp=1).data)
    return path

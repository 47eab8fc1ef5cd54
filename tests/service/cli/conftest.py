"""Files that the tests of the command line begin with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from models.codec import Codec
from models.learned.codec import LearnedCodec
from models.postprocess import model as post_model


@pytest.fixture(scope="session", autouse=True)
def _loaded_once() -> Iterator[None]:
    """Load a model once for all commands that run in this process, and not once for each."""
    load = Codec.load

    @cache
    def loaded(_: Path, name: str, device: str) -> Codec:
        return load(name, device=device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Codec,
            "load",
            lambda name="ms-ssim", *, device="cpu": loaded(post_model.WEIGHTS, name, device),
        )
        yield


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

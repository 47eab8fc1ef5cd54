"""What the service's tests share: an image file, and one app with the real codec for all of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from service.app import create_app
from service.settings import Settings


@pytest.fixture(scope="session")
def jpeg(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One thread, as the tests' own codec has: float sums in the same order."""
    store: Path = tmp_path_factory.mktemp("store")
    return Settings(store=str(store), max_pixels=1_000_000, max_body_bytes=2_000_000, threads=1)


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[TestClient]:
    """A client of a running app with both real models."""
    with TestClient(create_app(settings)) as client:
        yield client

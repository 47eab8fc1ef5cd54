"""A real service for the client's tests, one for the session, and pictures to send to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from ziggurat import Client

from tests.client.scripted import Scripted
from tests.end_to_end.servers import Server

# More images, or more pixels of all of them, make an album in parts.
ALBUM_IMAGES = 3
MAX_PIXELS = 60_000


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service without keys."""
    with Server(
        tmp_path_factory.mktemp("service"),
        ZIGGURAT_MAX_ALLOCATION_IMAGES=str(ALBUM_IMAGES),
        ZIGGURAT_MAX_PIXELS=str(MAX_PIXELS),
        ZIGGURAT_DELETE_WITHOUT_KEYS="true",
    ) as server:
        yield f"http://{server.address}"


@pytest.fixture(scope="session")
def client(service: str) -> Iterator[Client]:
    with Client(service) as client:
        yield client


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A service that answers as it is told, for what a real one does not do on request."""
    with Scripted() as scripted:
        yield scripted


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, photo: Image.Image) -> Path:
    """A folder with photo.jpg, photo.png and photo.zgt's makings."""
    folder = tmp_path_factory.mktemp("pictures")
    photo.save(folder / "photo.jpg", quality=95)
    photo.save(folder / "photo.png")
    return folder


@pytest.fixture
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment names a service."""
    for name in [name for name in os.environ if name.startswith("ZIGGURAT_")]:
        monkeypatch.delenv(name)

"""Pictures for bulk work, and one engine for the tests that need no pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from models import Target
from models.weights import registry
from service.bulk.work import Means, Wishes, Work
from service.bulk.worker import settings_of
from service.engine.engine import Engine
from service.metrics import Metrics

MEANS = Means("cpu", cores=1, at_once=3, max_pixels=40_000_000, max_file_bytes=2**20)


WISHES = Wishes(Target(bpp=0.5), "ms-ssim", registry.card("ms-ssim").model_id)


@pytest.fixture
def wishes() -> Wishes:
    return WISHES


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    """Four pictures, one of them twice; what is none, what is torn, and what is of another kind."""
    folder = tmp_path / "in"
    (folder / "day 2").mkdir(parents=True)
    photo.save(folder / "a.png")
    photo.rotate(180).save(folder / "b.png")
    photo.crop((0, 0, 90, 70)).save(folder / "day 2" / "c.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "d.jpg", quality=95)
    (folder / "day 2" / "same.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "none.png").write_bytes(b"none")
    (folder / "torn.png").write_bytes((folder / "b.png").read_bytes()[:300])
    (folder / "notes.txt").write_text("of another kind")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture
def work(wishes: Wishes, tmp_path: Path) -> Work:
    return Work(wishes, MEANS, str(tmp_path / "out"))


@pytest.fixture(scope="session")
def engine() -> Iterator[tuple[asyncio.Runner, Engine]]:
    """One engine that runs, and its event loop."""
    with asyncio.Runner() as runner:
        engine = Engine(settings_of(Work(WISHES, MEANS, "")), Metrics())
        runner.run(engine.start())
        yield runner, engine
        runner.run(engine.close())


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner

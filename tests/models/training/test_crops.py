"""models.training.crops: photographs from tar shards, and what is cut out of them"""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.tensors import to_pixels
from models.training.crops import CropSampler, content_hash, load
from tests.make_golden import FIXTURES, golden_picture

SIZES = ((80, 70), (30, 200))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One shard with pictures of the given sizes, each of one colour."""
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for number, size in enumerate(SIZES):
            file = io.BytesIO()
            Image.new("RGB", size, (number, 2, 3)).save(file, "PNG")
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(file.getvalue())
            archive.addfile(member, io.BytesIO(file.getvalue()))
    return tmp_path


def test_pictures_that_are_too_narrow_are_left_out(folder: Path) -> None:
    assert [picture.shape for picture in load(folder, 64)] == [(70, 80, 3)]
    assert [picture.shape for picture in load(folder, 0)] == [(70, 80, 3), (200, 30, 3)]
    assert len(load(folder, 0, limit=1)) == 1


def test_batches_are_in_the_unit_range_and_channels_last(folder: Path) -> None:
    batch = CropSampler(load(folder, 64), 64, np.random.default_rng(0)).batch(3)
    assert batch.shape == (3, 3, 64, 64)
    assert torch.equal(batch[0, :, 0, 0], torch.tensor([0.0, 2 / 255, 3 / 255]))
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_the_hash_follows_the_content(folder: Path) -> None:
    before = content_hash(folder)
    assert len(before) == 64
    (folder / "second.tar").write_bytes(b"more")
    assert content_hash(folder) != before


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.tar shards"):
        load(tmp_path, 64)


def test_the_same_state_gives_the_same_crops() -> None:
    first, second = (CropSampler([golden_picture().rgb], 64, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first.batch(4), second.batch(4))


def test_crops_of_another_side_come_from_the_same_memory() -> None:
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    larger = sampler.of_side(128)
    assert larger.batch(1).shape == (1, 3, 128, 128)
    assert sampler.batch(1).shape == (1, 3, 64, 64)
    assert larger._pictures is sampler._pictures
    assert sampler.room == min(golden_picture().rgb.shape[:2])


def test_a_crop_that_is_not_enlarged_has_pixels_of_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.crops.ENLARGE_PROBABILITY", 0.0)
    picture = golden_picture().rgb
    tall = picture[:, :100]
    upright = [picture, tall]
    ways = [
        p[:, ::step].transpose(axes) for p in upright for step in (1, -1) for axes in ((0, 1, 2), (1, 0, 2))
    ]
    windows = {way[i : i + 64, j : j + 64].tobytes() for way in ways for i, j in places(way, 64)}
    sampler = CropSampler(upright, 64, np.random.default_rng(0))
    for crop in to_pixels(sampler.batch(16)):
        assert crop.tobytes() in windows


def places(picture: NDArray[np.uint8], size: int) -> Iterator[tuple[int, int]]:
    height, width, _ = picture.shape
    return itertools.product(range(height - size + 1), range(width - size + 1))


def test_some_pictures_are_written_on_and_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for number in range(3):
            archive.add(FIXTURES / "photo.png", f"{number}.png")
    plain = [picture for picture in load(tmp_path, 0) if np.array_equal(picture, golden_picture().rgb)]
    monkeypatch.setattr("models.training.crops.WRITTEN_ON", 1.0)
    written = load(tmp_path, 0)
    assert len(plain) >= 2
    assert not any(np.array_equal(picture, golden_picture().rgb) for picture in written)
    assert not np.array_equal(written[0], written[1])
    for first, second in zip(written, load(tmp_path, 0), strict=True):
        assert np.array_equal(first, second)


def test_enlarged_crops_are_as_large_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.crops.ENLARGE_PROBABILITY", 1.0)
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    smooth = sampler.batch(8)
    assert smooth.shape == (8, 3, 64, 64)
    monkeypatch.setattr("models.training.crops.ENLARGE_PROBABILITY", 0.0)
    assert smooth.diff(dim=3).abs().mean() < sampler.batch(8).diff(dim=3).abs().mean()

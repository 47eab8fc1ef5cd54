"""models.training.crops: photographs from tar shards, and what is cut out of them"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.training.crops import CropSampler, content_hash, load
from tests.make_golden import golden_picture

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


def test_larger_crops_come_from_pictures_with_room() -> None:
    sampler = CropSampler(
        [golden_picture().rgb, golden_picture().rgb[:70, :70]], 64, np.random.default_rng(0)
    )
    larger = sampler.larger()
    assert larger.batch(1).shape == (1, 3, 128, 128)
    assert len(larger.pictures) == 1
    with pytest.raises(ValueError, match="256x256"):
        larger.larger()


def test_enlarged_crops_are_as_large_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.crops.ENLARGE_PROBABILITY", 1.0)
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    smooth = sampler.batch(8)
    assert smooth.shape == (8, 3, 64, 64)
    monkeypatch.setattr("models.training.crops.ENLARGE_PROBABILITY", 0.0)
    assert smooth.diff(dim=3).abs().mean() < sampler.batch(8).diff(dim=3).abs().mean()

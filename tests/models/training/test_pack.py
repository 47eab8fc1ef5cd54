"""models.training.pack: a part of the pictures in one shard"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from models.training import pack
from models.training.crops import load, members
from tests.make_golden import FIXTURES


def test_a_packed_shard_is_read_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for shard in range(2):
        with tarfile.open(data / f"{shard}.tar", "w") as archive:
            for number in range(4):
                archive.add(FIXTURES / "photo.png", f"{number}.png")
    size = (FIXTURES / "photo.png").stat().st_size
    limit = 4 * size + 20_000
    packed = tmp_path / "packed"
    arguments = ["pack", "--data", str(data), "--output", str(packed), "--megabytes", str(limit / 1e6)]
    monkeypatch.setattr(sys, "argv", arguments)
    pack.main()
    assert (packed / "shard-000.tar").stat().st_size <= limit
    assert list(members(packed)) == [(FIXTURES / "photo.png").read_bytes()] * 4
    assert np.array_equal(load(packed, 0)[0], load(data, 0)[0])


def test_files_are_taken_from_the_whole_list() -> None:
    files = [bytes([number]) * 1000 for number in range(100)]
    chosen = pack.evenly(files, 50_000)
    numbers = [file[0] for file in chosen]
    assert numbers == sorted(set(numbers))
    assert numbers[0] < 10
    assert numbers[-1] > 90
    assert len(chosen) > 20
    assert len(pack.shard(chosen)) <= 50_000


def test_everything_is_taken_where_there_is_room() -> None:
    files = [b"a", b"b"]
    assert pack.evenly(files, 1 << 20) == files


def test_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no picture fits into 100 bytes"):
        pack.evenly([b"a" * 200], 100)

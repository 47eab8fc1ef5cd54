"""Sizes are measured in processes of their own, loads at a real service; both are drawn."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.scaling import Load, Size, measure_loads, measure_size, plot_files, tables
from benchmarks.tiled import tiled

SIZES = [Size(64, 0.1, 0.1, 10, 20, 77), Size(1024, 0.5, 0.4, 10**8, 2 * 10**8, 19_660)]
LOADS = [Load(2, 1, 1.0, 0.9), Load(2, 4, 1.5, 1.4), Load(1, 1, 0.7, 0.6)]


def test_a_photograph_is_tiled_without_a_seam(photo: Image.Image) -> None:
    rgb = np.array(photo)
    large = tiled(rgb, 200, 300)
    assert large.shape == (200, 300, 3)
    assert np.array_equal(large[:96, :128], rgb)
    assert np.array_equal(large[:96, 128:256], rgb[:, ::-1])
    assert np.array_equal(tiled(rgb, 30, 40), rgb[:30, :40])


def test_a_size_is_measured_there_and_back(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "a.png")
    size = measure_size("psnr", tmp_path / "a.png", 160)
    assert size.megapixels == pytest.approx(0.0256)
    assert size.encode_seconds > 0
    assert size.decode_seconds > 0
    assert 28 < size.stream_bytes < 160 * 160 * 0.15 / 8 + 1


def test_a_service_is_measured_on_one_core(photo: Image.Image, tmp_path: Path) -> None:
    file = io.BytesIO()
    photo.crop((0, 0, 64, 64)).save(file, "PNG")
    (load,) = asyncio.run(measure_loads([file.getvalue()], 1, (2,), tmp_path / "log"))
    assert (load.cores, load.clients) == (1, 2)
    assert load.compressed > 0
    assert load.decompressed > 0


def test_results_are_drawn_beside_the_json(tmp_path: Path) -> None:
    plot_files(SIZES, LOADS, tmp_path / "found.json")
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {"found-time.png", "found-memory.png", "found-clients.png"}
    assert [table.row_count for table in tables("psnr", SIZES, LOADS)] == [2, 3]

"""The GPU's program, rehearsed on a CPU: the same code on another device."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_device import DeviceCodec, graph
from benchmarks.gpu_entropy import Coders, Layout, Slot
from models import Picture, Target
from models.learned.codec import LearnedCodec
from models.rate_control.position import Position


@pytest.fixture(scope="module")
def codec() -> LearnedCodec:
    return LearnedCodec.load("psnr", bfloat16=False)


def test_the_rehearsal_leaves_its_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--device", "cpu", "--quick", "--workers", "1", "--modes", "eager", "graph"]
    monkeypatch.setattr(sys, "argv", ["gpu", *options, "--output", str(tmp_path / "gpu")])
    monkeypatch.setattr(gpu, "QUICK_SECONDS", 0.01)
    monkeypatch.setattr(gpu, "CHECKED", 2)
    gpu.main()
    found = json.loads((tmp_path / "gpu" / "gpu.json").read_text())
    assert all(picture["exact"] for picture in found["agreement"])
    assert len(found["agreement"]) == 4
    done = {case["what"] for case in found["cases"] if case["megapixels"]}
    ways = ("", " staged", " coded")
    assert done == {f"{what}{way}" for what in ("encode", "decode", "decode post") for way in ways}
    assert {case["error"] for case in found["cases"] if case["mode"] == "graph"} == {"CUDA graphs need a GPU"}
    assert "| decode post coded | " in (tmp_path / "gpu" / "gpu.md").read_text()


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_devices_share_is_the_codecs(bfloat16: bool) -> None:
    codec = LearnedCodec.load("psnr", bfloat16=bfloat16)
    pixels = gpu.photographs(None, 1)[0][:64, :128]
    position = Position.from_quality(gpu.QUALITY)
    quantised = codec.quantise([Picture.from_array(pixels)], [Target(quality=gpu.QUALITY)])[0]
    device = DeviceCodec(codec, position, 1)
    with torch.inference_mode():
        coded = device.encode(torch.from_numpy(pixels)[None])
        (decoded,) = device.decode_and_improve(coded.z, coded.residuals)
    assert np.array_equal(coded.z[0], quantised.symbols.z)
    assert np.array_equal(coded.residuals[0], quantised.symbols.residuals)
    assert np.array_equal(coded.tables[0], quantised.tables)
    expected = codec.reconstruct([quantised.symbols])[0].rgb.astype(int)
    difference = np.abs(decoded[0].numpy().astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01  # 0.04 where autocast rounds what the codec keeps in float32


def test_workers_code_what_lies_in_shared_memory(codec: LearnedCodec) -> None:
    pixels = gpu.photographs(None, 1)[0][:64, :128]
    quantised = codec.quantise([Picture.from_array(pixels)], [Target(quality=gpu.QUALITY)])[0]
    symbols = quantised.symbols
    slot = Slot(Layout((1, *symbols.z.shape), (1, *symbols.residuals.shape)))
    coders = Coders("psnr", 1, 128, 64, symbols.position)
    try:
        slot.z[0], slot.residuals[0], slot.tables[0] = symbols.z, symbols.residuals, quantised.tables
        streams = [future.result() for future in coders.write(slot)]
        assert streams == [codec.symbol_codec.write(quantised).data]
        slot.z[:] = slot.residuals[:] = 0
        for future in coders.read(slot, streams):
            future.result()
        assert np.array_equal(slot.z[0], symbols.z)
        assert np.array_equal(slot.residuals[0], symbols.residuals)
    finally:
        coders.close()
        slot.close()


def test_a_graph_needs_a_gpu() -> None:
    with pytest.raises(RuntimeError, match="need a GPU"):
        graph(lambda x: (x,), (torch.zeros(1),))

"""models.learned.model"""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from models.errors import WeightsError
from models.learned.model import RAW_LOW, RAW_STEP, CodecModel
from models.weights import registry
from tests.make_golden import FIXTURES


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    path, copy = FIXTURES / "tiny.safetensors", tmp_path / "copy.safetensors"
    model = CodecModel.load(path)
    model.save(copy)
    assert CodecModel.load(copy).model_id == model.model_id
    tensors, copies = load_file(path), load_file(copy)
    assert tensors.keys() == copies.keys()
    assert all(torch.equal(tensor, copies[key]) for key, tensor in tensors.items())


def test_a_loaded_model_lets_go_of_its_file(tmp_path: Path) -> None:
    """A view of one tensor would keep all of the file in memory."""
    path = tmp_path / "mapped.safetensors"
    path.write_bytes((FIXTURES / "tiny.safetensors").read_bytes())
    model = CodecModel.load(path)
    assert model.scale_decoder.lookup.numel()
    assert str(path) not in {file.path for file in psutil.Process().memory_maps()}


def test_the_id_follows_what_decoding_depends_on_and_nothing_else(tmp_path: Path) -> None:
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    with torch.no_grad():
        model.network.g_a.fuse.weight.mul_(2)
        model.save(tmp_path / "encoder.safetensors")
        assert CodecModel.load(tmp_path / "encoder.safetensors").model_id == model.model_id
        model.network.g_s.linear.weight.mul_(2)
        model.save(tmp_path / "decoder.safetensors")
        assert CodecModel.load(tmp_path / "decoder.safetensors").model_id != model.model_id


def test_the_float_equivalent_of_the_exact_decoder_points_at_the_same_scales() -> None:
    model = CodecModel.load(registry.weights(registry.available()[0]))
    z = torch.randn(1, 96, 4, 4, generator=torch.Generator().manual_seed(0)).mul(2).round()
    with torch.no_grad():
        raw = model.network.h_scale(z)
    table = model.scale_decoder.lookup[((raw - RAW_LOW) / RAW_STEP).round().clamp(0, 1023).long()].int()
    assert (table - model.scale_decoder(z).int()).abs().float().mean() < 0.5


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_that_are_no_models_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        CodecModel.load(path)


def test_shipped_models_agree_with_their_cards() -> None:
    for name in registry.available():
        card = registry.card(name)
        assert CodecModel.load(registry.weights(name)).model_id == card.model_id
        assert registry.weights(name).stat().st_size <= 16 * 1024 * 1024

"""`ziggurat models list`, `show` and `verify`, run as a user runs them."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.errors import WeightsError
from models.learned.codec import LearnedCodec
from models.weights import registry
from service.cli import model_files
from tests.service.conftest import Terminal


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The psnr model in a folder of its own, which is the folder of the models."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(registry.WEIGHTS / f"psnr{suffix}", tmp_path)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    return tmp_path / "psnr.safetensors"


def damage(weights: Path, part: str) -> None:
    """Make the first number of a part's first tensor another."""
    with safe_open(weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        described = file.metadata()
    flat = tensors[next(name for name in tensors if name.startswith(part))].view(-1)
    flat[0] = torch.nan if flat.is_floating_point() else flat[0] ^ 1
    save_file(tensors, weights, described)


@pytest.mark.parametrize("command", [["models"], ["models", "list"]])
def test_models_are_listed(terminal: Terminal, codec: LearnedCodec, command: list[str]) -> None:
    assert terminal.run(*command) == 0
    rows = {line.split()[0]: line for line in terminal.out.splitlines()}
    assert {"visual", "ms-ssim", "psnr", "post-files", "avif"} <= set(rows)
    assert codec.model_id in rows[codec.name]
    assert rows["psnr"].endswith("15.8 MB")


def test_cards_are_shown_by_name_and_id(terminal: Terminal, codec: LearnedCodec) -> None:
    assert terminal.run("models", "show", codec.model_id, "post-files") == 0
    assert f"weights      {codec.card.parameters}\n" in terminal.out
    assert "quality  bpp     PSNR   MS-SSIM\n" in terminal.out
    assert "avif-420" in terminal.out
    assert terminal.run("models", "show", "psnr", "--json") == 0
    facts = json.loads(terminal.out)
    assert facts["card"]["objective"] == "mse"
    assert facts["bytes"] == registry.weights("psnr").stat().st_size
    assert terminal.run("models", "show", "betamax") == 2
    assert "betamax" in terminal.err


def test_sound_models_are_verified(terminal: Terminal, weights: Path) -> None:
    assert terminal.run("models", "verify", "--json") == 0
    facts = json.loads(terminal.out)
    assert facts["sound"]
    assert "exact on cpu" in facts["checked"]
    assert terminal.run("models", "verify", "psnr", "--quiet") == 0
    assert terminal.out == terminal.err == ""


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("tables.", "have id"),
        ("network.g_s.", "have id"),
        ("network.g_a.", "the encoder fails"),  # which no id covers
    ],
)
def test_damage_is_found_wherever_it_is(terminal: Terminal, weights: Path, part: str, told: str) -> None:
    damage(weights, part)
    assert terminal.run("models", "verify") == 1
    assert told in terminal.err
    assert len(terminal.err.splitlines()) == 1


def test_a_file_that_is_cut_off_is_told(terminal: Terminal, weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:1000])
    assert terminal.run("models", "verify") == 1
    assert "cannot load psnr.safetensors" in terminal.err
    weights.with_suffix(".json").write_text("{}")
    assert terminal.run("models", "list") == 1
    assert "card" in terminal.err


def test_what_the_installer_recorded_is_compared(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = tmp_path / "ziggurat-1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Name: ziggurat\nVersion: 1\n")
    digest = model_files._digest(weights)
    (record / "RECORD").write_text(f"psnr.safetensors,sha256={digest},15830066\n")
    installed = metadata.PathDistribution(record)
    monkeypatch.setattr(metadata, "distribution", lambda name: installed)
    assert model_files._recorded_digest(weights) == digest
    weights.write_bytes(weights.read_bytes() + b" ")
    (model,) = model_files.model_files()
    with pytest.raises(WeightsError, match="not as it was installed"):
        model_files.check(model, "cpu")

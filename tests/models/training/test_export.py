"""models.training.export: a run becomes weights, and a card that says what they are"""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from models.learned.model import CodecModel
from models.training import export
from models.training.crops import content_hash
from models.weights import registry
from models.weights.card import ModelCard
from tests.make_golden import FIXTURES, TINY, golden_picture
from tests.models.training.tiny_run import quiet, trainer


def test_the_commit_is_named() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", export.commit())


def test_a_run_becomes_weights_and_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    images = tmp_path / "images"
    weights = tmp_path / "weights"
    for folder in (data, images, weights):
        folder.mkdir()
    with tarfile.open(data / "shard.tar", "w") as shard:
        shard.add(FIXTURES / "photo.png", "photo.png")
    Image.fromarray(golden_picture().rgb[:64, :64]).save(images / "a.png")
    run, sampler = trainer(tmp_path / "run")
    run.run(sampler, report=quiet)
    monkeypatch.setattr(registry, "WEIGHTS", weights)
    monkeypatch.setattr(export, "WEIGHTS", weights)
    registry.card.cache_clear()

    folders = ["--run", str(tmp_path / "run"), "--data", str(data), "--images", str(images)]
    few = ["--scale-steps", "1", "--context-steps", "1", "--context-crops", "8"]
    earlier = ["--earlier-steps", "100", "--history", "100 steps before"]
    monkeypatch.setattr(sys, "argv", ["export", "--name", "tiny", *folders, *few, *earlier])
    export.main()
    registry.card.cache_clear()

    model = CodecModel.load(weights / "tiny.safetensors")
    card = ModelCard.load(weights / "tiny.json")
    assert model.network.topology == TINY
    assert card.model_id == model.model_id
    assert card.steps == 100 + 6
    assert card.data_sha256 == content_hash(data)
    first, second, third = card.history
    assert first == "100 steps before"
    assert second.endswith("of the gain axis, 0 minutes, schedule-free AdamW")
    assert third.startswith("1 steps of the integer scale decoder and 1 of the context networks (8 crops)")
    bpp = [point.bpp for point in card.rate_distortion]
    assert bpp == sorted(bpp)

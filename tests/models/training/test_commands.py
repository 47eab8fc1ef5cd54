"""python -m models.training and its export: from a folder of shards to a model that codes"""

from __future__ import annotations

import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from models.codec import Codec
from models.learned.codec import LearnedCodec
from models.training import __main__ as train
from models.training import export
from models.training.loop import trained_network
from models.weights import registry
from tests.make_golden import FIXTURES, TINY


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    folder.mkdir()
    with tarfile.open(folder / "shard.tar", "w") as archive:
        archive.add(FIXTURES / "photo.png", "photo.png")
    return folder


def test_train_resume_export_and_code(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    images = tmp_path / "images"
    run = tmp_path / "run"
    weights.mkdir()
    images.mkdir()
    with Image.open(FIXTURES / "photo.png") as image:
        image.crop((0, 0, 96, 64)).save(images / "photo.png")
    monkeypatch.setattr(registry, "WEIGHTS", weights)
    monkeypatch.setattr(export, "WEIGHTS", weights)
    registry.card.cache_clear()

    # The tiny network: with one of the shipped size, which the next test makes, this takes minutes
    # on a slow processor.
    tiny = FIXTURES / "tiny.safetensors"
    command = f"train --data {shards} --run {run} --batch 1 --crop 64 --warmup 1 --init {tiny}"
    for steps in (1, 2):
        monkeypatch.setattr(sys, "argv", [*command.split(), "--steps", str(steps)])
        train.main()
    assert "step 1 of 2" in capsys.readouterr().out, "the second call went on where the first stopped"

    command = f"export --run {run} --name fresh --data {shards} --images {images}"
    # Crops by default are so many that quantising them takes minutes.
    few = "--scale-steps 1 --context-steps 1 --context-crops 8"
    monkeypatch.setattr(sys, "argv", f"{command} {few}".split())
    export.main()
    registry.card.cache_clear()
    card = registry.card("fresh")
    assert card.steps == 2
    assert card.evaluated_on == "images"
    assert [point.quality for point in card.rate_distortion][-1] == 100.0
    assert registry.name_of(card.model_id) == "fresh"
    codec = LearnedCodec.load("fresh")
    with Image.open(FIXTURES / "photo.jpg") as image:
        assert Codec(codec).decompress(Codec(codec).compress(image, quality=20).data).size == image.size
    registry.card.cache_clear()


def test_training_goes_on_from_a_run_or_an_exported_model(
    tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = f"train --data {shards} --batch 1 --crop 64 --warmup 1 --steps 1".split()
    monkeypatch.setattr(sys, "argv", [*command, "--run", str(tmp_path / "first")])
    train.main()
    monkeypatch.setattr(
        sys,
        "argv",
        [
            *command,
            "--run",
            str(tmp_path / "second"),
            "--init",
            str(tmp_path / "first" / "weights.safetensors"),
        ],
    )
    train.main()
    start = trained_network(tmp_path / "first" / "weights.safetensors").g_a.linear.weight
    after = trained_network(tmp_path / "second" / "weights.safetensors").g_a.linear.weight
    assert 0 < (after - start).abs().max() < 0.01
    monkeypatch.setattr(
        sys,
        "argv",
        [
            *command,
            "--run",
            str(tmp_path / "third"),
            "--init",
            str(FIXTURES / "tiny.safetensors"),
            "--anchors-above",
            "2",
        ],
    )
    train.main()
    grown = trained_network(tmp_path / "third" / "weights.safetensors").topology
    assert grown == replace(TINY, anchors=TINY.anchors + 2)


def test_a_folder_without_shards_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", f"train --data {tmp_path} --run {tmp_path / 'run'}".split())
    with pytest.raises(FileNotFoundError, match=r"no \.tar shards"):
        train.main()

"""models.training.finer: more of the gain axis, and the old part of it unchanged"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import Target
from models.learned.codec import LearnedCodec
from models.learned.model import CodecModel
from models.postprocess import model as post_model
from models.postprocess.model import PostCard
from models.rate_control import Position
from models.training import export, finer
from models.training.crops import CropSampler
from models.weights import registry
from models.weights.card import ModelCard
from tests import post
from tests.make_golden import FIXTURES, TINY, golden_picture, tiny_card
from tests.models.training.tiny_run import quiet

ADDED = 2
LAST = TINY.anchors - 1


def codec_of(model: CodecModel) -> LearnedCodec:
    return LearnedCodec(model, tiny_card(model.model_id))


@pytest.fixture(scope="module")
def models() -> tuple[CodecModel, CodecModel]:
    """The tiny model, and the same with a finer end."""
    torch.manual_seed(0)
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    made = finer.finer(model, "mse", sampler, anchors=ADDED, steps=2, batch=2, report=quiet)
    return model, made


def test_old_gains_stay_and_new_ones_are_trained(models: tuple[CodecModel, CodecModel]) -> None:
    model, made = models
    assert made.network.topology.anchors == TINY.anchors + ADDED
    assert made.model_id != model.model_id
    for name in ("gain", "inverse_gain"):
        old, new = getattr(model.network, name), getattr(made.network, name)
        assert torch.equal(new[: TINY.anchors], old), name
        slope = (old[-1] - old[0]) / LAST
        assert not torch.allclose(new[-1], old[-1] + ADDED * slope, atol=1e-6), f"{name} is not trained"
    assert torch.equal(made.bits_per_significant[: TINY.anchors], model.bits_per_significant)


def test_the_same_place_among_the_old_anchors_makes_the_same_picture(
    models: tuple[CodecModel, CodecModel],
) -> None:
    shares = (1.0, LAST / (LAST + ADDED))  # the old end, on either axis
    pictures = []
    for model, share in zip(models, shares, strict=True):
        codec = codec_of(model)
        target = Target(quality=Position.from_share(share).quality)
        stream = codec.encode([golden_picture()], [target])[0]
        pictures.append(codec.decode([stream.data])[0].rgb.astype(int))
    # The place on the axis is rounded to 1/65535 of it.
    assert abs(pictures[0] - pictures[1]).max() <= 1


def test_the_new_end_is_finer(models: tuple[CodecModel, CodecModel]) -> None:
    old, new = (codec_of(model).encode([golden_picture()], [Target(quality=100)])[0] for model in models)
    assert len(new.data) > 1.2 * len(old.data)


def test_the_command_replaces_the_model_and_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("data", "images", "weights"):
        (tmp_path / folder).mkdir()
    with tarfile.open(tmp_path / "data" / "shard.tar", "w") as shard:
        shard.add(FIXTURES / "photo.png", "photo.png")
    Image.fromarray(golden_picture().rgb[:64, :64]).save(tmp_path / "images" / "a.png")
    weights = tmp_path / "weights"
    old = CodecModel.load(FIXTURES / "tiny.safetensors")
    old.save(weights / "tiny.safetensors")
    tiny_card(old.model_id).save(weights / "tiny.json")
    monkeypatch.setattr(registry, "WEIGHTS", weights)
    monkeypatch.setattr(post_model, "WEIGHTS", weights / "postprocess")
    (weights / "postprocess").mkdir()
    post.install("tiny", (old.model_id,), finest=0.1)
    monkeypatch.setattr(export, "WEIGHTS", weights)
    monkeypatch.setattr(finer, "CROP", 64)
    registry.card.cache_clear()
    folders = ["--run", str(tmp_path / "run"), "--data", str(tmp_path / "data")]
    images = ["--images", str(tmp_path / "images"), "--anchors", "1", "--steps", "1"]
    monkeypatch.setattr(sys, "argv", ["finer", "--model", "tiny", *folders, *images])
    finer.main()
    registry.card.cache_clear()

    model = CodecModel.load(weights / "tiny.safetensors")
    card = ModelCard.load(weights / "tiny.json")
    assert model.network.topology.anchors == TINY.anchors + 1
    assert card.model_id == model.model_id != old.model_id
    assert card.history == ("1 gain anchors more at the fine end, 1 steps of their gains alone",)
    assert card.lambda_high == pytest.approx(4.17 * 1.9307**TINY.anchors)
    assert card.rate_distortion
    assert card.evaluated_on == "images"

    (trained,) = PostCard.load(weights / "postprocess" / "tiny.json").trained
    assert trained.kind == model.model_id
    assert 1 - trained.finest == pytest.approx(0.9 * LAST / (LAST + 1), abs=1e-4)


def test_a_post_processor_does_at_the_same_place_what_it_did() -> None:
    old = post.tiny_post_model(("01234567",)).network
    made = finer.stretched(old, "89abcdef", 1.5)
    assert made.topology.kinds == ("89abcdef",)
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for share in (0.0, 0.3, 0.6):
        before = old(pixels, old.condition(0, 1 - 1.5 * share)[None])
        after = made(pixels, made.condition(0, 1 - share)[None])
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    elsewhere = made(pixels, made.condition(0, 0.0)[None])
    assert (elsewhere - after).abs().max() > 1e-3

"""The yardstick computes what the codec computes, however either runs the network."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from benchmarks.bare import Bare
from models import Picture
from models.learned.model import CodecModel
from models.network.autoencoder import AutoEncoder
from models.postprocess import model as post_model
from models.postprocess.model import PostModel
from models.tensors import to_batch
from models.weights import registry


@pytest.fixture(scope="module")
def bare() -> Bare:
    return Bare("psnr", bfloat16=False)


@pytest.fixture(scope="module")
def network() -> AutoEncoder:
    return CodecModel.load(registry.weights("psnr")).network.eval()


@torch.inference_mode()
def test_the_bare_transforms_are_the_networks(bare: Bare, network: AutoEncoder, photo: Image.Image) -> None:
    x = to_batch([Picture.from_image(photo.crop((0, 0, 128, 64))).rgb], torch.device("cpu"))
    y = network.g_a(x)
    torch.testing.assert_close(bare.g_a(x), y, rtol=1e-3, atol=1e-4)
    scaled = network.scaled(y, torch.tensor([5.0]))
    torch.testing.assert_close(bare.scaled(y, 5), scaled)
    torch.testing.assert_close(bare.h_a(scaled), network.side_information(scaled), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(bare.g_s(y), network.g_s(y), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_the_bare_post_processor_is_the_codecs(bare: Bare, photo: Image.Image) -> None:
    network = PostModel.load(post_model.weights("psnr")).network
    x_hat = to_batch([Picture.from_image(photo).rgb], torch.device("cpu"))
    condition = network.condition(0, 0.7)[None]
    expected = network(x_hat, condition)
    torch.testing.assert_close(bare.post(x_hat, condition), expected, rtol=1e-3, atol=1e-4)
    assert not torch.equal(expected, x_hat)


def test_there_is_one_for_every_profile() -> None:
    for profile in registry.available():
        Bare(profile, bfloat16=False)

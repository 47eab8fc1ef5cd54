"""models.training.scale_decoder: the integers compute what their training saw, and code"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from models import Target
from models.learned.codec import LearnedCodec
from models.learned.model import RAW_LOW, RAW_STEP
from models.network.autoencoder import AutoEncoder
from models.training.crops import CropSampler
from models.training.scale_decoder import RoundedScaleDecoder, bits_per_significant, finish
from tests.make_golden import FIXTURES, TINY, golden_picture, tiny_card


def test_the_integer_scale_decoder_computes_what_its_training_saw() -> None:
    torch.manual_seed(0)
    rounded = RoundedScaleDecoder(AutoEncoder(TINY).h_scale)
    z_hat = torch.randn(2, 8, 3, 3).mul(3).round()
    rounded.calibrate(z_hat)
    exact = rounded.exact()
    with torch.no_grad():
        steps = ((rounded(z_hat) - RAW_LOW) / RAW_STEP).round().long()
    different = exact.lookup[steps] != exact(z_hat)
    # The multipliers are rounded to 2**-24: a tie may fall to the other side.
    assert different.float().mean() < 0.01


def test_a_finished_model_codes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    said: list[str] = []
    model = finish(
        AutoEncoder(TINY), sampler, steps=50, batch=1, context_crops=8, context_steps=2, report=said.append
    )
    assert "against the float decoder" in said[0]
    codec = LearnedCodec(model, tiny_card(model.model_id))
    stream = codec.encode([golden_picture()], [Target(quality=50)])[0]
    assert codec.decode([stream.data])[0].width == 192
    model.save(tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(FIXTURES / "tiny.safetensors").keys()


def test_bits_of_a_significant_latent_are_measured_at_every_anchor() -> None:
    torch.manual_seed(0)
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    bits = bits_per_significant(AutoEncoder(TINY).eval(), sampler.batch(2))
    assert bits.shape == (TINY.anchors,)
    assert (bits > 0).all()

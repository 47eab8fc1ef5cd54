"""models.training.mean_context: what least squares finds predicts"""

from __future__ import annotations

import numpy as np
import torch

from models.network.autoencoder import AutoEncoder
from models.training.crops import CropSampler
from models.training.mean_context import solve_context
from tests.make_golden import TINY, golden_picture


def test_a_solved_context_predicts() -> None:
    torch.manual_seed(5)
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(1))
    network = AutoEncoder(TINY).eval()
    anchor = torch.full((8,), 2.0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        y = network.g_a(sampler.batch(8))
        energy = network.predicted(y, anchor, hard=True)[0].square().sum()
        solve_context(network, sampler, crops=64, batch=8)
        assert network.predicted(y, anchor, hard=True)[0].square().sum() < 0.97 * energy
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["context.0.linear.weight", "context.1.linear.weight"]

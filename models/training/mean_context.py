"""Where the mean's context starts: the linear part by least squares, with everything else as it is.

The neighbours' deviations explain most of what z leaves of the low channels; gradient steps from zero take thousands to find that out, the
normal equations take a minute.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.network.autoencoder import AutoEncoder
from models.network.context import pass_mask
from models.network.precision import transform_autocast
from models.training.crops import CropSampler
from models.training.positions import sample_positions

RIDGE = 0.002  # of the mean energy of an input
NEIGHBOURS = (  # in a 3x3 window, read row by row, of passes 2 and 3
    (0, 2, 6, 8),
    (1, 3, 5, 7),
)


@torch.no_grad()
def solve_context(network: AutoEncoder, sampler: CropSampler, *, crops: int = 1600, batch: int = 16) -> None:
    """Set the linear parts of `network.context` to what predicts best over `crops` crops, each at a quality as in training."""
    anchors = network.topology.anchors - 1
    batches = [(_latents(network, sampler.batch(batch)), sample_positions(batch) * anchors) for _ in range(crops // batch)]
    for number, (context, taps) in enumerate(zip(network.context, NEIGHBOURS, strict=True), 1):
        assert isinstance(context.linear, torch.nn.Conv2d)
        weight = context.linear.weight
        inputs = network.context_in_channels * len(taps)
        energy = torch.zeros(inputs, inputs, dtype=torch.float64)
        correlation = torch.zeros(inputs, network.context_out_channels, dtype=torch.float64)
        for y, quality in batches:
            seen, told = _samples(network, y.float(), quality, number, taps)
            energy += seen.T @ seen
            correlation += seen.T @ told
        energy.diagonal().add_(RIDGE * energy.diagonal().mean())
        solution = (
            torch.linalg.solve(energy, correlation).float().view(network.context_in_channels, len(taps), network.context_out_channels)
        )
        weight.flatten(2)[:, :, list(taps)] = solution.permute(2, 0, 1)


def _latents(network: AutoEncoder, x: Tensor) -> Tensor:
    with transform_autocast(x.device):
        y: Tensor = network.g_a(x)
    return y.half()


def _samples(network: AutoEncoder, y: Tensor, quality: Tensor, number: int, taps: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """What pass `number` sees (n, seen * taps) and should tell (n, told), in units of the quantiser so that all rates weigh alike."""
    y = network.scaled(y, quality)
    mean = network.mean(network.side_information(y).round(), *y.shape[-2:])
    deviations = (y - mean)[:, : network.context_out_channels]
    decided = network.mean_in_context(mean, quality, lambda low: torch.round(y[:, : low.shape[1]] - low))[:, : network.context_in_channels]
    decoded = (y[:, : network.context_in_channels] - decided).round() + decided - mean[:, : network.context_in_channels]
    earlier = torch.stack([pass_mask(k, y) for k in range(number)]).any(0)
    unit = network.gain_at(network.inverse_gain, quality)[:, : network.context_out_channels]
    step = unit.mean(1, keepdim=True)
    windows = F.unfold(decoded * earlier * unit[:, : network.context_in_channels] / step, 3, padding=1)
    windows = windows.view(len(y), network.context_in_channels, 9, -1)[:, :, list(taps)]
    mask = pass_mask(number, y)
    seen = windows.flatten(1, 2).transpose(1, 2)[:, mask.flatten()]
    told = (deviations * unit / step).flatten(2).transpose(1, 2)[:, mask.flatten()]
    return seen.flatten(0, 1).double(), told.flatten(0, 1).double()

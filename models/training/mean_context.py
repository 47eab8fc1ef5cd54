"""Start of the mean's context: its linear part by least squares, with all else as it is.

The neighbours' deviations explain most of what z leaves of the low channels. Gradient steps from
zero take thousands to find that out, the normal equations take a minute.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.network.autoencoder import AutoEncoder
from models.network.context import pass_mask
from models.network.precision import transform_autocast
from models.training.crops import CropSampler
from models.training.positions import sample_shares

RIDGE = 0.002  # added to the diagonal of the normal equations, as a share of its mean
WINDOW = 3  # side of the context's convolution
NEIGHBOURS = (  # decoded ones in that window, read row by row, in passes 2 and 3
    (0, 2, 6, 8),
    (1, 3, 5, 7),
)


@torch.no_grad()
def solve_context(network: AutoEncoder, sampler: CropSampler, *, crops: int = 1600, batch: int = 16) -> None:
    """Set the linear parts of `network.context` to what predicts best.

    Args:
        network: changed in place.
        sampler: draws the crops.
        crops: number of them, each coded somewhere on the gain axis, as in training.
        batch: crops that go through the network together.
    """
    last_anchor = network.topology.anchors - 1
    batches = [
        (_latents(network, sampler.batch(batch)), sample_shares(batch) * last_anchor)
        for _ in range(crops // batch)
    ]
    for number, (context, taps) in enumerate(zip(network.context, NEIGHBOURS, strict=True), 1):
        assert isinstance(context.linear, torch.nn.Conv2d)
        weight = context.linear.weight
        out_channels, in_channels = weight.shape[:2]
        inputs = in_channels * len(taps)
        energy = torch.zeros(inputs, inputs, dtype=torch.float64)
        correlation = torch.zeros(inputs, out_channels, dtype=torch.float64)
        for y, anchor in batches:
            seen, wanted = _samples(network, y.float(), anchor, number, taps)
            energy += seen.T @ seen
            correlation += seen.T @ wanted
        energy.diagonal().add_(RIDGE * energy.diagonal().mean())
        solution = torch.linalg.solve(energy, correlation).float()
        solution = solution.view(in_channels, len(taps), out_channels)
        weight.flatten(2)[:, :, list(taps)] = solution.permute(2, 0, 1)


def _latents(network: AutoEncoder, x: Tensor) -> Tensor:
    """Analyse crops (N, 3, H, W): y (N, M, h, w) in half precision, so that all fit into memory."""
    with transform_autocast(x.device):
        y: Tensor = network.g_a(x)
    return y.half()


def _samples(
    network: AutoEncoder, y: Tensor, anchor: Tensor, number: int, taps: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Make the least-squares problem of one pass, in units in which all rates weigh alike.

    Args:
        network: with its context as far as it is solved.
        y: (N, M, h, w).
        anchor: place of each crop among the gain anchors (N,).
        number: of the pass, from 1.
        taps: neighbours in the window that are decoded by then.

    Returns:
        seen: the neighbours' deviations (n, in_channels * taps), float64.
        wanted: deviations of the latents of the pass (n, out_channels), float64.
    """
    in_channels = network.context_in_channels
    out_channels = network.context_out_channels
    y = network.scaled(y, anchor)
    mean = network.mean(network.side_information(y).round(), *y.shape[-2:])
    in_context = network.mean_in_context(mean, anchor, lambda low: torch.round(y[:, : low.shape[1]] - low))
    low_mean = in_context[:, :in_channels]
    decoded = (y[:, :in_channels] - low_mean).round() + low_mean - mean[:, :in_channels]
    earlier = torch.stack([pass_mask(k, y) for k in range(number)]).any(0)
    unit = network.gain_at(network.inverse_gain, anchor)[:, :out_channels]
    unit = unit / unit.mean(1, keepdim=True)
    windows = F.unfold(decoded * earlier * unit[:, :in_channels], WINDOW, padding=WINDOW // 2)
    windows = windows.view(len(y), in_channels, WINDOW**2, -1)[:, :, list(taps)]
    mask = pass_mask(number, y).flatten()
    seen = windows.flatten(1, 2).transpose(1, 2)[:, mask]
    deviations = (y - mean)[:, :out_channels] * unit
    wanted = deviations.flatten(2).transpose(1, 2)[:, mask]
    return seen.flatten(0, 1).double(), wanted.flatten(0, 1).double()

"""What a network costs per image pixel, counted rather than estimated.

    python -m models.evaluation.complexity

prints our networks beside the published one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.entropy.context_model import ContextModel
from models.grid import HYPER_STRIDE, PASSES, STRIDE
from models.learned.model import CodecModel
from models.network.autoencoder import AutoEncoder, Topology
from models.network.postprocess import PostNetwork, PostTopology
from models.network.tng2018 import FILTERS, HYPER_FILTERS, TNG2018, PostProcessor
from models.weights.registry import available, weights

SIDE = 256  # pixels of the image that is counted on; costs are proportional to the area


@dataclass(frozen=True, slots=True)
class Cost:
    """A part of a network: trainable parameters, and thousands of multiply-accumulates per image pixel."""

    part: str
    parameters: int
    kmac: float


def parameters(module: nn.Module) -> int:
    """Trainable parameters of a network."""
    return sum(parameter.numel() for parameter in module.parameters())


def kmac_per_pixel(function: Callable[..., object], *inputs: Tensor, pixels: int) -> float:
    """Thousands of multiply-accumulates of `function(*inputs)` per pixel of an image of `pixels` pixels.

    Counts convolutions and matrix products as they are dispatched, whoever calls them, and leaves out element-wise work. On tensors and
    modules of the device "meta" nothing is computed.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    flops: int = counter.get_total_flops()
    return flops / 2 / pixels / 1000


def our_costs(topology: Topology = Topology()) -> list[Cost]:  # noqa: B008  # frozen
    """The parts of `AutoEncoder`, and the post-processor. The integer scale decoder that replaces h_scale has its shape."""
    with torch.device("meta"):
        network = AutoEncoder(topology)
        x, y, z = _inputs(topology.latents, topology.hyper)
        return [
            _cost("g_a", network.g_a, x),
            _cost("h_a", network.h_a, y),
            _cost("h_scale", network.h_scale, z),
            _cost("h_mean", network.h_mean, z),
            *(_cost(f"context {number}", one, y[:, : network.context_in_channels]) for number, one in enumerate(network.context, 2)),
            _cost("g_s", network.g_s, y),
            post_cost(PostTopology(("any",))),
        ]


def published_costs() -> list[Cost]:
    """The parts of the network of 2018 and of its post-processor."""
    with torch.device("meta"):
        network = TNG2018()
        x, y, z = _inputs(FILTERS, HYPER_FILTERS)
        return [
            _cost("f_e", network.f_e, x),
            _cost("h_e", network.h_e, y),
            _cost("h_d", network.h_d, z),
            _cost("f_d", network.f_d, y),
            _cost("post", PostProcessor(), x),
        ]


def context_cost(context_model: ContextModel) -> Cost:
    """The networks that shift table indices: of every pass, for the share of the places that it decodes."""
    cells = sum(map(len, PASSES))
    products = [sum(layer.weight.size for network in networks for layer in network) for networks in context_model.networks]
    of_latent = sum(number * len(phases) / cells for number, phases in zip(products, PASSES, strict=True))
    return Cost("tables' context", sum(products), of_latent / STRIDE**2 / 1000)


def post_cost(topology: PostTopology) -> Cost:
    """Our post-processor."""
    with torch.device("meta"):
        network = PostNetwork(topology)
        x, condition = torch.empty(1, 3, SIDE, SIDE), torch.empty(1, 2 * len(topology.kinds))
        return Cost("post", parameters(network), kmac_per_pixel(network, x, condition, pixels=SIDE * SIDE))


def _cost(part: str, module: nn.Module, x: Tensor) -> Cost:
    return Cost(part, parameters(module), kmac_per_pixel(module, x, pixels=SIDE * SIDE))


def _inputs(latents: int, hyper: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and z of one image."""
    y_side, z_side = SIDE // STRIDE, SIDE // STRIDE // HYPER_STRIDE
    return torch.empty(1, 3, SIDE, SIDE), torch.empty(1, latents, y_side, y_side), torch.empty(1, hyper, z_side, z_side)


if __name__ == "__main__":
    models = {name: CodecModel.load(weights(name)) for name in available()}
    ours = [(f"ziggurat {name}", [*our_costs(one.network.topology), context_cost(one.context_model)]) for name, one in models.items()]
    for title, costs in (*ours, ("Zhou et al. 2018", published_costs())):
        print(f"{title:18}{'parameters':>12}{'kMAC/pixel':>12}")
        for cost in costs:
            print(f"  {cost.part:16}{cost.parameters:12,}{cost.kmac:12.2f}")

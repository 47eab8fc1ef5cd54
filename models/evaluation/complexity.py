"""Complexity: a network's cost per image pixel, counted rather than estimated.

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

SIDE = 256  # of the image that is counted on, in pixels; costs are proportional to its area


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a part of a network.

    Attributes:
        part: its name.
        parameters: trainable ones.
        kmac: thousands of multiply-accumulates per image pixel.
    """

    part: str
    parameters: int
    kmac: float


def parameters(module: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(parameter.numel() for parameter in module.parameters())


def kmac_per_pixel(function: Callable[..., object], *inputs: Tensor, pixels: int) -> float:
    """Count thousands of multiply-accumulates of `function(*inputs)` per image pixel.

    Convolutions and matrix products are counted as they are dispatched, whoever calls them, and
    element-wise work is left out. On tensors and modules of the device "meta" nothing is computed.

    Args:
        function: a network, or what calls one.
        inputs: of the function.
        pixels: of the image that the inputs stand for.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    flops: int = counter.get_total_flops()
    return flops / 2 / pixels / 1000


def our_costs(topology: Topology = Topology()) -> list[Cost]:  # noqa: B008  # frozen
    """Count the parts of `AutoEncoder`, and the post-processor.

    The integer scale decoder that replaces h_scale has its shape.
    """
    with torch.device("meta"):
        network = AutoEncoder(topology)
        x, y, z = _inputs(topology.latents, topology.hyper)
        seen = y[:, : network.context_in_channels]
        return [
            _cost("g_a", network.g_a, x),
            _cost("h_a", network.h_a, y),
            _cost("h_scale", network.h_scale, z),
            _cost("h_mean", network.h_mean, z),
            *(_cost(f"context {number}", context, seen) for number, context in enumerate(network.context, 2)),
            _cost("g_s", network.g_s, y),
            post_cost(PostTopology(("any",))),
        ]


def published_costs() -> list[Cost]:
    """Count the parts of the network of 2018, and its post-processor."""
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
    """Count the networks that shift table indices, each for its share of the places."""
    places = sum(map(len, PASSES))
    products = [
        sum(layer.weight.size for network in networks for layer in network)
        for networks in context_model.networks
    ]
    per_latent = sum(count * len(phases) / places for count, phases in zip(products, PASSES, strict=True))
    return Cost("tables' context", sum(products), per_latent / STRIDE**2 / 1000)


def post_cost(topology: PostTopology) -> Cost:
    """Count a post-processor."""
    with torch.device("meta"):
        network = PostNetwork(topology)
        x = torch.empty(1, 3, SIDE, SIDE)
        condition = torch.empty(1, 2 * len(topology.kinds))
        return Cost("post", parameters(network), kmac_per_pixel(network, x, condition, pixels=SIDE * SIDE))


def _cost(part: str, module: nn.Module, x: Tensor) -> Cost:
    return Cost(part, parameters(module), kmac_per_pixel(module, x, pixels=SIDE * SIDE))


def _inputs(latents: int, hyper: int) -> tuple[Tensor, Tensor, Tensor]:
    """Make x, y and z in the shapes that they have for one image."""
    y_side = SIDE // STRIDE
    z_side = y_side // HYPER_STRIDE
    return (
        torch.empty(1, 3, SIDE, SIDE),
        torch.empty(1, latents, y_side, y_side),
        torch.empty(1, hyper, z_side, z_side),
    )


def main() -> None:
    """Print a table for each of our profiles, and for the published network."""
    tables = {}
    for name in available():
        model = CodecModel.load(weights(name))
        tables[f"ziggurat {name}"] = [
            *our_costs(model.network.topology),
            context_cost(model.context_model),
        ]
    tables["Zhou et al. 2018"] = published_costs()
    for title, costs in tables.items():
        print(f"{title:18}{'parameters':>12}{'kMAC/pixel':>12}")
        for cost in costs:
            print(f"  {cost.part:16}{cost.parameters:12,}{cost.kmac:12.2f}")


if __name__ == "__main__":
    main()

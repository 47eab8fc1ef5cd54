"""Another basis for the weights while they are trained: gradient steps go further in it.

Adam takes steps of one size in every coordinate, so that the coordinates matter. Where pixels or
places become channels, a weight is trained as its transform by a small DCT, which for 2x2 is
Haar's. Every convolution gets a factor for each of its inputs and outputs. Both are from PICO
(Apple, arXiv 2605.05148), whose ablations put them at 20 and 10 % of the rate.

The network computes the same, before and after: `rebase` changes what is trained, and `settled`
multiplies everything out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.network.blocks import Convolution, FoldingConvolution, UnfoldingConvolution
from models.network.dct import dct_basis


class Rebased(nn.Module):
    """The weight of a convolution as a product: basis, factors of outputs and inputs, and the rest.

    Args:
        convolution: is not changed.
    """

    basis: Tensor

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        outputs, inputs = convolution.weight.shape[:2]
        fold = convolution.fold if isinstance(convolution, FoldingConvolution | UnfoldingConvolution) else 1
        one_way = dct_basis(fold)
        self.register_buffer("basis", torch.kron(one_way, one_way), persistent=False)
        self._outputs_fold = isinstance(convolution, UnfoldingConvolution)
        # Logarithms, named as the gains of the latents are: they learn as fast.
        self.gain_out = nn.Parameter(torch.zeros(outputs, 1, 1, 1))
        self.gain_in = nn.Parameter(torch.zeros(1, inputs, 1, 1))

    def forward(self, rest: Tensor) -> Tensor:
        """Multiply out: the weight (out, in, kernel, kernel) that the convolution has.

        In float32 under autocast too: a weight in bfloat16 is one that is arranged for serving.
        """
        with torch.autocast(rest.device.type, enabled=False):
            return self._in_basis(rest * torch.exp(self.gain_out + self.gain_in), self.basis)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Find the rest of a weight at factors of 1."""
        return self._in_basis(weight, self.basis.T)

    def _in_basis(self, weight: Tensor, basis: Tensor) -> Tensor:
        """Transform the fold² phases of every channel, on the side where they are."""
        if len(basis) == 1:
            return weight
        phases = len(basis)
        if self._outputs_fold:
            by_phase = weight.view(-1, phases, *weight.shape[1:])
            return torch.einsum("cqikl,qp->cpikl", by_phase, basis).reshape(weight.shape)
        by_phase = weight.view(len(weight), -1, phases, *weight.shape[2:])
        return torch.einsum("ocqkl,qp->ocpkl", by_phase, basis).reshape(weight.shape)


def rebase(network: nn.Module) -> None:
    """Train the convolutions of a network as products from here on."""
    for module in list(network.modules()):
        if isinstance(module, Convolution) and module.weight.requires_grad:
            parametrize.register_parametrization(module, "weight", Rebased(module))


def settled(network: nn.Module) -> dict[str, Tensor]:
    """Multiply everything out: weights by name, as the network had them before `rebase`."""
    state = {
        name: tensor for name, tensor in network.state_dict().items() if ".parametrizations." not in name
    }
    for name, module in network.named_modules():
        if parametrize.is_parametrized(module):
            weight = module.weight
            assert isinstance(weight, Tensor)
            state[f"{name}.weight"] = weight
    return state

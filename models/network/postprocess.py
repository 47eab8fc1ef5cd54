"""The post-processor: takes the artefacts of a codec out of a decoded picture.

The published shape (Zhou et al. 2018, section 2.5; `tng2018.PostProcessor`: a convolution, six residual blocks, a convolution, a skip
around them all) on 4x4 pixels folded into channels: 18,000 multiplications a pixel instead of 446,000, and it sees four times as far.
One set of weights serves every kind of source and every rate: what the source was scales and shifts the features of each block (Perez et
al., "FiLM: Visual Reasoning with a General Conditioning Layer", 2018).

    x_hat --4x4 DCT--> conv3x3 --(scale, shift, residual block) x 6--> scale, shift, conv3x3 --inverse DCT--> + x_hat
                                        ^
              kind, coarseness --two linear layers

Folding is by a DCT of luma and chroma, its AC coefficients amplified, as artefacts are a hundredth of what the mean of 4x4 pixels ranges
over: with pixels folded as they are, the same training gained a third (of JPEG's artefacts) to three quarters (AVIF's).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.network.blocks import SLOPE, ResidualBlock

AMPLIFIED = 20.0  # AC coefficients on their way in
RESIDUAL = 0.05  # of the last convolution's unit on the way out


@dataclass(frozen=True, slots=True)
class PostTopology:
    """Sizes of a `PostNetwork`.

    Attributes:
        kinds: of sources, in the order of the condition.
        fold: pixels on a side that become channels of one.
        channels: of the residual blocks.
        blocks: how many.
        hidden: width of the layer between the condition and the features' scales.
    """

    kinds: tuple[str, ...]
    fold: int = 4
    channels: int = 48
    blocks: int = 6
    hidden: int = 32

    @property
    def reach(self) -> int:
        """How far a pixel of the result sees, in pixels."""
        return self.fold * (2 * self.blocks + 2) + self.fold - 1


class PostNetwork(nn.Module):
    """x_hat (N, 3, H, W) in [0, 1], H and W multiples of `fold`, and a condition (N, 2 * kinds) to a better picture of the same size.

    Untrained it is the identity.
    """

    basis: Tensor
    amplified: Tensor

    def __init__(self, topology: PostTopology) -> None:
        super().__init__()
        self.topology = topology
        folded, channels = 3 * topology.fold**2, topology.channels
        self.first = nn.Conv2d(folded, channels, 3, 1, 1)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(topology.blocks))
        self.last = nn.Conv2d(channels, folded, 3, 1, 1)
        modulation = nn.Linear(topology.hidden, 2 * (topology.blocks + 1) * channels)
        self.modulation = nn.Sequential(nn.Linear(2 * len(topology.kinds), topology.hidden), nn.LeakyReLU(SLOPE), modulation)
        for parameter in (*self.last.parameters(), *modulation.parameters()):
            nn.init.zeros_(parameter)
        self.register_buffer("basis", _cosines(topology.fold), persistent=False)
        amplified = torch.full((3, topology.fold**2), AMPLIFIED)
        amplified[:, 0] = torch.tensor([1.0, 2.0, 2.0])  # means of 4x4 pixels
        self.register_buffer("amplified", amplified.view(1, -1, 1, 1), persistent=False)

    def condition(self, kind: int, coarseness: float) -> Tensor:
        """(2 * kinds,): which one, and its coarseness from -1 to 1 in that one's place."""
        condition = torch.zeros(2, len(self.topology.kinds))
        condition[0, kind], condition[1, kind] = 1.0, 2 * coarseness - 1
        return condition.flatten()

    def forward(self, x_hat: Tensor, condition: Tensor) -> Tensor:
        modulation = self.modulation(condition).view(len(x_hat), self.topology.blocks + 1, 2, -1, 1, 1)
        x = self.first(F.conv2d(x_hat - 0.5, self.basis, stride=self.topology.fold) * self.amplified)
        for number, block in enumerate(self.blocks):
            x = block(_modulated(x, modulation[:, number]))
        residual = self.last(_modulated(x, modulation[:, -1]))
        return x_hat + F.conv_transpose2d(residual * RESIDUAL, self.basis, stride=self.topology.fold)


def _modulated(x: Tensor, modulation: Tensor) -> Tensor:
    return torch.addcmul(x + modulation[:, 1], x, modulation[:, 0])


def _cosines(size: int) -> Tensor:
    """Orthonormal: (3 * size**2, 3, size, size), the DCT-II of size x size pixels in luma, then in two axes of chroma."""
    frequency, place = torch.arange(size).view(-1, 1), torch.arange(size).view(1, -1)
    cosine = torch.cos(math.pi * (place + 0.5) * frequency / size) * math.sqrt(2 / size)
    cosine[0] /= math.sqrt(2)
    luma, blue = torch.tensor([0.299, 0.587, 0.114]), torch.tensor([-0.169, -0.331, 0.5])
    luma = luma / luma.norm()
    blue = blue - (blue @ luma) * luma
    blue = blue / blue.norm()
    colour = torch.stack([luma, blue, torch.linalg.cross(luma, blue)])
    return torch.einsum("ca,uy,vx->cuvayx", colour, cosine, cosine).reshape(3 * size**2, 3, size, size)

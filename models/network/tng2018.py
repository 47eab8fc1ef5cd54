"""The published network, TucodecTNGcnn of 2018, built exactly.

It is the yardstick for complexity and speed.

L. Zhou, C. Cai, Y. Gao, S. Su, J. Wu, "Variational Autoencoder for Low Bit-rate Image Compression",
CLIC at CVPR 2018.

    x (3, 1/1) --f_e--> y (192, 1/16) --round--> y_hat --f_d--> x_hat --post--> x_post
                        |              ^ Laplacian(0, sigma^2)
                        h_e--> z (128, 1/64) --round--> z_hat --h_d--> sigma (192, 1/16)

No weights of it were ever published, so it is untrained. Where a figure contradicts itself or the
text, it is read so that the network works and the parameters add up to the size of the decoder that
the authors submitted:

- Fig. 1 draws GDN in the decoder, the text says "GDN/IGDN": inverse GDN.
- Fig. 1 gives the decoder's last convolution 192 filters, though it feeds the image: 3.
- Fig. 2 gives the hyper-decoder's last convolution 128 filters, though it feeds one sigma per
  element of y: 192.
- Up-sampling, padding and the slope of LeakyReLU are not stated: transposed convolution, zeros,
  0.2.
- LeakyReLU lets sigma be negative, and no bound is stated: `SIGMA_FLOOR`, as in Balle et al. 2018.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FILTERS = 192  # of the transforms, and channels of y
HYPER_FILTERS = 128  # of the hyper-transforms, and channels of z
POST_FILTERS = 64  # of the post-processor
POST_BLOCKS = 6  # residual blocks of the post-processor
NEGATIVE_SLOPE = 0.2  # of every LeakyReLU
SIGMA_FLOOR = 0.11  # quantiser steps


class GDN(nn.Module):
    """Generalised divisive normalisation, x_i / sqrt(beta_i + sum_j gamma_ij x_j^2).

    Balle, Laparra, Simoncelli, "Density modeling of images using a generalized normalization
    transformation", 2016. beta and gamma are stored as square roots, which keeps them from going
    negative.

    Args:
        channels: of input and output (N, channels, H, W).
        inverse: multiply by the root instead.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta_root = nn.Parameter(torch.ones(channels))
        self.gamma_root = nn.Parameter((0.1 * torch.eye(channels)).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        gamma = self.gamma_root.square()[:, :, None, None]
        norm = F.conv2d(x * x, gamma, self.beta_root.square() + 1e-6)
        return x * (norm.sqrt() if self.inverse else norm.rsqrt())


class Encoder(nn.Module):
    """f_e: x (N, 3, H, W), H and W multiples of 16, to y (N, 192, H/16, W/16).

    x --stage--> 1/2 --stage--> 1/4 --stage--> 1/8 --conv, conv/2--> 1/16 --+
                  |              |              +------ 3x3 /2 -------------+
                  |              +--------------------- 5x5 /4 -------------+-- concat --1x1--> y
                  +------------------------------------ 9x9 /8 -------------+

    A stage is conv3x3, conv3x3/2, GDN: two 3x3 convolutions, with nothing between them, for each
    5x5 of Balle et al.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stage2 = nn.Sequential(_conv(3, FILTERS), _conv(FILTERS, FILTERS, stride=2), GDN(FILTERS))
        self.stage4 = nn.Sequential(_conv(FILTERS, FILTERS), _conv(FILTERS, FILTERS, stride=2), GDN(FILTERS))
        self.stage8 = nn.Sequential(_conv(FILTERS, FILTERS), _conv(FILTERS, FILTERS, stride=2), GDN(FILTERS))
        self.stage16 = nn.Sequential(_conv(FILTERS, FILTERS), _conv(FILTERS, FILTERS, stride=2))
        self.side2 = _conv(FILTERS, FILTERS, kernel=9, stride=8)
        self.side4 = _conv(FILTERS, FILTERS, kernel=5, stride=4)
        self.side8 = _conv(FILTERS, FILTERS, kernel=3, stride=2)
        self.fuse = _conv(4 * FILTERS, FILTERS, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        f2 = self.stage2(x)
        f4 = self.stage4(f2)
        f8 = self.stage8(f4)
        y: Tensor = self.fuse(
            torch.cat([self.side2(f2), self.side4(f4), self.side8(f8), self.stage16(f8)], 1)
        )
        return y


class Decoder(nn.Sequential):
    """f_d: y_hat (N, 192, H/16, W/16) to x_hat (N, 3, H, W); no pyramid, "unbalanced"."""

    def __init__(self) -> None:
        super().__init__(
            *(_up(FILTERS), _conv(FILTERS, FILTERS), GDN(FILTERS, inverse=True)),
            *(_up(FILTERS), _conv(FILTERS, FILTERS), GDN(FILTERS, inverse=True)),
            *(_up(FILTERS), _conv(FILTERS, FILTERS), GDN(FILTERS, inverse=True)),
            *(_up(FILTERS), _conv(FILTERS, 3)),
        )


class HyperEncoder(nn.Module):
    """h_e: y (N, 192, h, w), h and w multiples of 4, to z (N, 128, h/4, w/4).

    It takes the absolute values of y itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(_conv(FILTERS, HYPER_FILTERS), nn.LeakyReLU(NEGATIVE_SLOPE)),
            *(
                _conv(HYPER_FILTERS, HYPER_FILTERS),
                _conv(HYPER_FILTERS, HYPER_FILTERS, stride=2),
                nn.LeakyReLU(NEGATIVE_SLOPE),
            ),
            *(_conv(HYPER_FILTERS, HYPER_FILTERS), _conv(HYPER_FILTERS, HYPER_FILTERS, stride=2)),
        )

    def forward(self, y: Tensor) -> Tensor:
        z: Tensor = self.layers(y.abs())
        return z


class HyperDecoder(nn.Module):
    """h_d: z_hat (N, 128, h/4, w/4) to sigma (N, 192, h, w), at least `SIGMA_FLOOR`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(_conv(HYPER_FILTERS, HYPER_FILTERS), _up(HYPER_FILTERS), nn.LeakyReLU(NEGATIVE_SLOPE)),
            *(_conv(HYPER_FILTERS, HYPER_FILTERS), _up(HYPER_FILTERS), nn.LeakyReLU(NEGATIVE_SLOPE)),
            *(_conv(HYPER_FILTERS, FILTERS), nn.LeakyReLU(NEGATIVE_SLOPE)),
        )

    def forward(self, z_hat: Tensor) -> Tensor:
        sigma: Tensor = self.layers(z_hat)
        return sigma.clamp_min(SIGMA_FLOOR)


class PostBlock(nn.Module):
    """x + conv3x3(LeakyReLU(conv3x3(LeakyReLU(x)))), Fig. 3a."""

    def __init__(self) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *(nn.LeakyReLU(NEGATIVE_SLOPE), _conv(POST_FILTERS, POST_FILTERS)),
            *(nn.LeakyReLU(NEGATIVE_SLOPE), _conv(POST_FILTERS, POST_FILTERS)),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.residual(x)
        return x + residual


class PostProcessor(nn.Module):
    """Decoded image (N, 3, H, W) to a better one, at full resolution throughout, Fig. 3b."""

    def __init__(self) -> None:
        super().__init__()
        blocks = (PostBlock() for _ in range(POST_BLOCKS))
        self.residual = nn.Sequential(_conv(3, POST_FILTERS), *blocks, _conv(POST_FILTERS, 3))

    def forward(self, x_hat: Tensor) -> Tensor:
        residual: Tensor = self.residual(x_hat)
        return x_hat + residual


class Coded(NamedTuple):
    """Everything that one pass through the network computes.

    Attributes:
        x_hat: reconstruction (N, 3, H, W), before post-processing.
        y_hat: rounded latents (N, 192, H/16, W/16).
        sigma: standard deviations of their Laplacians, in their shape, eq. 2.
        z_hat: rounded side information (N, 128, H/64, W/64).
    """

    x_hat: Tensor
    y_hat: Tensor
    sigma: Tensor
    z_hat: Tensor


class TNG2018(nn.Module):
    """The four transforms together.

    `PostProcessor` is apart, as only some of the submissions used it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.f_e = Encoder()
        self.f_d = Decoder()
        self.h_e = HyperEncoder()
        self.h_d = HyperDecoder()

    def forward(self, x: Tensor) -> Coded:
        """Encode and decode x (N, 3, H, W), H and W multiples of 64."""
        y = self.f_e(x)
        z_hat = self.h_e(y).round()
        y_hat = y.round()
        return Coded(x_hat=self.f_d(y_hat), y_hat=y_hat, sigma=self.h_d(z_hat), z_hat=z_hat)


def _conv(channels_in: int, channels_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2)


def _up(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 3, 2, padding=1, output_padding=1)

"""models.network.tng2018: the published parameters and resolutions (cost: `test_complexity`)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.evaluation.complexity import parameters
from models.network.tng2018 import (
    GDN,
    SIGMA_FLOOR,
    TNG2018,
    Decoder,
    Encoder,
    HyperDecoder,
    HyperEncoder,
    PostProcessor,
)


@pytest.mark.parametrize(
    ("part", "count"),
    [
        (Encoder, 6_827_904),
        (Decoder, 2_440_131),
        (HyperEncoder, 811_648),
        (HyperDecoder, 811_712),
        (PostProcessor, 446_659),
    ],
)
def test_parameters(part: type[nn.Module], count: int) -> None:
    with torch.device("meta"):
        assert parameters(part()) == count


def test_decoder_is_as_large_as_the_one_submitted() -> None:
    """The single-model decoder on the 2018 server had 14.76 MB.

    Ours, f_d and h_d in float32, must fit and not by far.
    """
    with torch.device("meta"):
        megabytes = 4 * (parameters(Decoder()) + parameters(HyperDecoder())) / 1e6
    assert 12 < megabytes < 14.76


def test_shapes() -> None:
    torch.manual_seed(0)
    network = TNG2018()
    with torch.no_grad():
        coded = network(torch.rand(2, 3, 64, 128))
    assert coded.x_hat.shape == (2, 3, 64, 128)
    assert coded.y_hat.shape == coded.sigma.shape == (2, 192, 4, 8)
    assert coded.z_hat.shape == (2, 128, 1, 2)
    assert coded.sigma.min() >= SIGMA_FLOOR
    assert torch.equal(coded.y_hat, coded.y_hat.round())
    assert PostProcessor()(coded.x_hat).shape == coded.x_hat.shape


def test_inverse_gdn_multiplies_by_what_gdn_divides_by() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 8, 5, 5)
    forward = GDN(8)
    inverse = GDN(8, inverse=True)
    torch.testing.assert_close(forward(x) * inverse(x), x * x)
    expected = x / (1 + 1e-6 + 0.1 * x * x).sqrt()  # gamma starts as a tenth of the identity
    torch.testing.assert_close(forward(x), expected)


def test_gdn_is_differentiable_from_the_start() -> None:
    layer = GDN(4)
    layer(torch.randn(1, 4, 3, 3)).sum().backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all()
        for parameter in layer.parameters()
    )

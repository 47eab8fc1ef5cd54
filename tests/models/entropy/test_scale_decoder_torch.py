"""models.entropy.scale_decoder_torch"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.entropy import scale_decoder_torch
from models.entropy.requantisation import EXACT_LIMIT
from models.entropy.scale_decoder import INPUT_LIMIT, TILE
from models.entropy.scale_decoder_torch import ExactScaleDecoder, PictureScaleDecoder
from models.errors import WeightsError
from models.learned.model import CodecModel
from models.weights.registry import available, weights
from tests.make_golden import FIXTURES
from tests.models.entropy.integers import KINDS


@pytest.fixture(
    scope="module",
    params=itertools.product(["tiny", *available()], KINDS),
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def decoder(request: pytest.FixtureRequest) -> ExactScaleDecoder:
    """Every model, with its integers held in every type that is exact here."""
    name, kind = request.param
    path = FIXTURES / "tiny.safetensors" if name == "tiny" else weights(name)
    found = replace(CodecModel.load(path).scale_decoder)  # a copy: the registry's may be prepared
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale_decoder_torch, "kind_on", lambda device: kind)
        assert found._prepared[0].weight.dtype is kind
    return found


@pytest.fixture
def _two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def z_hat(decoder: ExactScaleDecoder, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    spread = torch.tensor([1.0, 4.0, 40.0, 200.0]).repeat(batch)[:batch].view(-1, 1, 1, 1)
    return (spread * torch.randn(batch, decoder.layers[0].weight.shape[1], 3, 4, generator=generator)).round()


def test_it_equals_64_bit_integer_arithmetic(decoder: ExactScaleDecoder) -> None:
    z = z_hat(decoder, 4)
    definition = decoder.integer()
    assert np.array_equal(
        decoder(z).numpy(),
        [definition(picture.astype(np.int64), arithmetic=np.int64) for picture in z.numpy()],
    )


def test_batch_and_memory_layout_do_not_show(decoder: ExactScaleDecoder) -> None:
    z = z_hat(decoder, 8)
    together = decoder(z)
    assert torch.equal(together, torch.cat([decoder(picture[None]) for picture in z]))
    assert torch.equal(together, decoder(z.contiguous(memory_format=torch.channels_last)))


@pytest.mark.usefixtures("_two_threads")
def test_threads_do_not_show(decoder: ExactScaleDecoder) -> None:
    z = z_hat(decoder, 8)
    several = decoder(z)
    torch.set_num_threads(1)
    assert torch.equal(several, decoder(z))


def test_autocast_does_not_show(decoder: ExactScaleDecoder) -> None:
    z = z_hat(decoder, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder(z), decoder(z.bfloat16().float()))
    assert torch.equal(decoder(z), decoder(z.to(torch.int32)))


def test_the_self_check_accepts_this_machine(decoder: ExactScaleDecoder) -> None:
    decoder.self_check()


def test_the_self_check_refuses_arithmetic_that_rounds(
    decoder: ExactScaleDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mm", "_int_mm"):
        exact = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda a, b, exact=exact: exact(a, b).bfloat16().float())
    with pytest.raises(WeightsError, match="not exact"):
        decoder.self_check()


def test_sums_that_could_exceed_float32_are_refused(decoder: ExactScaleDecoder) -> None:
    first, second, third = decoder.layers
    assert all(layer.worst_sum(255) < EXACT_LIMIT for layer in decoder.integer().layers)
    with pytest.raises(WeightsError, match="layer 1"):
        ExactScaleDecoder(
            (first, replace(second, bias=torch.full_like(second.bias, EXACT_LIMIT)), third), decoder.lookup
        )


def test_hyper_latents_beyond_the_limit_are_clamped(decoder: ExactScaleDecoder) -> None:
    z = z_hat(decoder, 1).sign()
    assert torch.equal(decoder(INPUT_LIMIT * z), decoder(1000 * z))


def test_a_picture_tile_by_tile_equals_the_definition(decoder: ExactScaleDecoder) -> None:
    z = np.random.default_rng(0).integers(-20, 21, (decoder.layers[0].weight.shape[1], 1, 2 * TILE + 1))
    z = z.astype(np.int8)
    assert np.array_equal(PictureScaleDecoder(decoder)(z), decoder.integer()(z))

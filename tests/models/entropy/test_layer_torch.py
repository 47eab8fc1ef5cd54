"""models.entropy.layer_torch"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.entropy import layer_torch
from models.entropy.layer_torch import CHUNK, HELD_LESS, RowLayer, int8_is_exact, kind_on
from models.entropy.requantisation import MULTIPLIER_BITS, UNIT, offset_of
from tests.models.entropy.integers import KINDS


def saturating(a: Tensor, b: Tensor) -> Tensor:
    """Multiply as a CPU without VNNI does: pairs of products are added into 16 bits."""
    x, w = a.int() + 128, b.int()
    if odd := x.shape[1] % 2:
        x, w = torch.nn.functional.pad(x, (0, odd)), torch.nn.functional.pad(w, (0, 0, 0, odd))
    products = x[:, :, None] * w
    pairs = (products[:, ::2] + products[:, 1::2]).clamp(-(1 << 15), (1 << 15) - 1)
    return pairs.sum(1) - 128 * b.int().sum(0)


@pytest.fixture
def _tried_anew() -> Iterator[None]:
    int8_is_exact.cache_clear()
    yield
    int8_is_exact.cache_clear()


@pytest.mark.usefixtures("_tried_anew")
def test_products_that_saturate_are_not_taken_for_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not int8_is_exact()
    assert kind_on(torch.device("cpu")) is torch.float32


@pytest.mark.usefixtures("_tried_anew")
def test_a_torch_without_these_products_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "_int_mm")
    assert kind_on(torch.device("cpu")) is torch.float32


def test_other_devices_hold_float32() -> None:
    assert kind_on(torch.device("meta")) is torch.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [40, CHUNK])
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_two_layers_equal_64_bit_integers(
    kind: torch.dtype, chunk: int, seed: int, places: int, inputs: int, outputs: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-127, 128, (places, inputs), generator=generator)
    layers: list[RowLayer] = []
    expected = x
    for fan_in, limits in ((inputs, (0, 255)), (outputs, (-32, 32))):
        weight = torch.randint(-127, 128, (outputs, fan_in), generator=generator)
        bias = torch.randint(-9999, 10_000, (outputs,), generator=generator)
        multiplier = torch.randint(
            1, (1 << MULTIPLIER_BITS) // (40 * fan_in), (outputs,), generator=generator
        )
        half = 1 << (MULTIPLIER_BITS - 1)
        total = expected @ weight.t() + bias
        expected = ((total * multiplier + half) >> MULTIPLIER_BITS).clamp(*limits)
        ratio = multiplier.double() * UNIT
        offset = offset_of(bias.double(), ratio)
        layers.append(RowLayer.of(weight, ratio, offset, limits, kind, hidden=bool(layers)))
    held: Callable[[Tensor], Tensor] = lambda values: values.to(kind)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_torch, "CHUNK", chunk)
        found = layers[1](layers[0](held(x)))
    assert torch.equal(found.long(), expected)


def test_what_is_held_less_fits() -> None:
    assert torch.iinfo(torch.int8).min == -HELD_LESS

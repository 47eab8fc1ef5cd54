"""models.entropy.scale_decoder"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.entropy.requantisation import EXACT_LIMIT
from models.entropy.scale_decoder import (
    ACTIVATION_LIMIT,
    INPUT_LIMIT,
    IntegerLayer,
    IntegerScaleDecoder,
)
from models.errors import WeightsError
from models.learned.model import CodecModel
from models.weights.registry import available, weights
from tests.make_golden import FIXTURES


@pytest.fixture(scope="module", params=["tiny", *available()])
def decoder(request: pytest.FixtureRequest) -> IntegerScaleDecoder:
    path = FIXTURES / "tiny.safetensors" if request.param == "tiny" else weights(request.param)
    return CodecModel.load(path).scale_decoder.integer()


def test_float32_gives_what_64_bit_integers_give(decoder: IntegerScaleDecoder) -> None:
    rng = np.random.default_rng(1)
    for spread in (1, 4, 40, 200):
        z = rng.normal(0, spread, (decoder.layers[0].weight.shape[1], 3, 5)).round().astype(np.int64)
        assert np.array_equal(decoder(z), decoder(z, arithmetic=np.int64))


def test_tiles_do_not_show(decoder: IntegerScaleDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    z = (
        np.random.default_rng(1)
        .normal(0, 4, (decoder.layers[0].weight.shape[1], 7, 5))
        .round()
        .astype(np.int64)
    )
    whole = decoder(z)
    monkeypatch.setattr("models.entropy.scale_decoder.TILE", 2)
    assert np.array_equal(decoder(z), whole)


def test_hyper_latents_beyond_the_limit_are_clamped(decoder: IntegerScaleDecoder) -> None:
    z = np.sign(np.random.default_rng(1).normal(0, 1, (decoder.layers[0].weight.shape[1], 3, 5))).astype(
        np.int64
    )
    assert np.array_equal(decoder(INPUT_LIMIT * z), decoder(1000 * z))


def test_sums_that_could_exceed_float32_are_refused(decoder: IntegerScaleDecoder) -> None:
    first, second, third = decoder.layers
    with pytest.raises(WeightsError, match="layer 1"):
        IntegerScaleDecoder(
            (first, replace(second, bias=np.full_like(second.bias, EXACT_LIMIT)), third), decoder.lookup
        )


def test_extremes_are_what_64_bit_integers_give(decoder: IntegerScaleDecoder) -> None:
    z_hat, indices = decoder.extremes()
    assert np.array_equal(indices, decoder(z_hat, arithmetic=np.int64))


def test_the_self_check_refuses_arithmetic_that_rounds(
    decoder: IntegerScaleDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder.self_check()
    exact = IntegerLayer.__call__

    def rounding(self: IntegerLayer, x: np.ndarray, limit: int, arithmetic: type) -> np.ndarray:
        rounded = (
            x.astype(np.float16) * np.float16(0.999)
            if arithmetic is np.float32 and limit == ACTIVATION_LIMIT
            else x
        )
        return exact(self, rounded.astype(np.int64), limit, arithmetic)

    monkeypatch.setattr(IntegerLayer, "__call__", rounding)
    with pytest.raises(WeightsError, match="not exact"):
        decoder.self_check()

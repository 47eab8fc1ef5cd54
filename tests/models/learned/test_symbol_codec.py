"""models.learned.symbol_codec"""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest

from models import Target
from models.bitstream import Bitstream
from models.entropy.context_model import ContextNetworks
from models.entropy.scale_decoder import IntegerScaleDecoder
from models.errors import (
    BitstreamError,
    DamagedStreamError,
    StreamTooLargeError,
    TruncatedStreamError,
    UnknownModelError,
    WeightsError,
)
from models.learned.codec import LearnedCodec
from models.learned.symbol_codec import SymbolCodec
from models.learned.symbols import Quantised, Symbols
from models.progress import Progress
from tests.make_golden import GOLDEN, golden_picture
from tests.models.entropy.threads import blas_threads


@pytest.fixture(scope="module")
def quantised(codec: LearnedCodec) -> Quantised:
    return codec.quantise([golden_picture()], [Target(bpp=0.3)])[0]


@pytest.fixture(scope="module")
def symbol_codec() -> SymbolCodec:
    return SymbolCodec.load()


def same(a: Symbols, b: Symbols) -> bool:
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Symbols))


def test_symbols_survive_the_stream_and_the_way_between_processes(
    codec: LearnedCodec, symbol_codec: SymbolCodec, quantised: Quantised
) -> None:
    stream = symbol_codec.write(pickle.loads(pickle.dumps(quantised)))
    assert stream == codec.encode([golden_picture()], [Target(bpp=0.3)])[0]
    symbols = symbol_codec.read(Bitstream.parse(stream.data))
    assert same(pickle.loads(pickle.dumps(symbols)), quantised.symbols)


def test_a_process_that_codes_entropy_need_not_load_torch(quantised: Quantised) -> None:
    program = (
        "import sys, models.learned.symbol_codec as m; "
        "m.SymbolCodec.load('ms-ssim'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_loading_is_once_per_process_and_knows_its_models() -> None:
    assert SymbolCodec.load("psnr") is SymbolCodec.load("psnr")
    with pytest.raises(WeightsError, match="no model 'mp3'"):
        SymbolCodec.load("mp3")


def test_writing_computes_no_network(
    symbol_codec: SymbolCodec, quantised: Quantised, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder has computed them all to predict the size."""
    expected = symbol_codec.write(quantised)
    monkeypatch.delattr(ContextNetworks, "tables")
    monkeypatch.delattr(IntegerScaleDecoder, "__call__")
    assert symbol_codec.write(quantised) == expected


@pytest.mark.usefixtures("three_blas_threads")
def test_products_have_one_thread_and_others_get_theirs_back(
    symbol_codec: SymbolCodec, quantised: Quantised
) -> None:
    """OpenBLAS' threads and torch's wait for each other: a hundred times as long, at worst."""

    class Watched(Progress):
        def pause(self) -> None:
            seen.add(blas_threads())

    seen: set[int] = set()
    for picture in (
        quantised,
        replace(quantised, budget=2000, predicted_bytes=2000),
    ):  # the second is trimmed
        data = symbol_codec.write(picture, Watched()).data
    symbol_codec.read(Bitstream.parse(data), Watched())
    assert seen == {1}
    assert blas_threads() == 3


@pytest.mark.parametrize("excess", [1, 5, 100])
def test_a_stream_that_came_out_too_long_is_trimmed_to_its_budget(
    symbol_codec: SymbolCodec, quantised: Quantised, excess: int
) -> None:
    budget = len(symbol_codec.write(quantised).data) - excess
    stream = symbol_codec.write(replace(quantised, budget=budget, predicted_bytes=budget))
    assert budget - 8 <= len(stream.data) <= budget
    assert stream.target_met
    assert stream.quality == symbol_codec.write(quantised).quality
    # A few residuals gave way by one; the bits they had cost more than the average's.
    difference = (
        symbol_codec.read(Bitstream.parse(stream.data)).residuals.astype(int) - quantised.symbols.residuals
    )
    assert np.abs(difference).max() == 1
    assert np.count_nonzero(difference) <= 3 * excess
    if excess < 100:  # none on whose neighbours others' means depend
        assert not difference[:, 0::2, 0::2].any()
        assert not difference[:, 1::2, 1::2].any()


def test_a_budget_that_even_the_prediction_missed_is_left_alone(
    symbol_codec: SymbolCodec, quantised: Quantised
) -> None:
    untouched = symbol_codec.write(quantised)
    stream = symbol_codec.write(replace(quantised, budget=20))
    assert (stream.data, stream.target_met) == (untouched.data, False)


def test_a_budget_below_the_smallest_container_ends(symbol_codec: SymbolCodec, quantised: Quantised) -> None:
    stream = symbol_codec.write(replace(quantised, budget=20, predicted_bytes=20))
    assert not symbol_codec.read(Bitstream.parse(stream.data)).residuals.any()
    assert not stream.target_met


def test_errors_of_reading_pickle(symbol_codec: SymbolCodec, quantised: Quantised) -> None:
    data = symbol_codec.write(quantised).data
    broken: dict[type[BitstreamError], bytes] = {
        TruncatedStreamError: data[:-7],
        DamagedStreamError: data[:-1] + bytes([data[-1] ^ 1]),
        UnknownModelError: (GOLDEN / "tiny-50.zgt").read_bytes(),
        StreamTooLargeError: data,
    }
    for kind, stream in broken.items():
        with pytest.raises(kind) as caught:
            symbol_codec.read(
                Bitstream.parse(stream, max_pixels=1000 if kind is StreamTooLargeError else None)
            )
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

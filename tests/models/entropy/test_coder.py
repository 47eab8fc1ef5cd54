"""models.entropy.coder"""

from __future__ import annotations

import contextlib
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.entropy.coder import CHUNK_SYMBOLS, SymbolCoder
from models.entropy.context_model import ContextModel
from models.entropy.tables import LAPLACE_TABLES, LARGEST_RESIDUAL, LARGEST_SUPPORT, TOTAL, laplace_scales
from models.errors import DamagedStreamError
from tests.models.entropy.integers import CHANNELS, CONTEXT_MODEL, TABLES

CODER = SymbolCoder(TABLES, CONTEXT_MODEL)

residual = st.one_of(st.integers(-3, 3), st.integers(-LARGEST_RESIDUAL, LARGEST_RESIDUAL))
pair = st.tuples(st.integers(0, LAPLACE_TABLES - 1), residual)


@given(st.data(), st.integers(0, 5), st.integers(0, 5))
def test_any_residuals_come_back_escaped_ones_too(data: st.DataObject, height: int, width: int) -> None:
    shape = (CHANNELS, height, width)
    size = CHANNELS * height * width
    symbols = data.draw(st.lists(pair, min_size=size, max_size=size))
    indices = np.array([index for index, _ in symbols], np.uint8).reshape(shape)
    residuals = np.array([value if index else 0 for index, value in symbols], np.int16).reshape(shape)
    stream = CODER.encode_residuals(residuals, CONTEXT_MODEL.all_corrected(indices, residuals))
    assert np.array_equal(CODER.decode_residuals(stream, indices), residuals)


@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_hyper_latents_come_back(data: st.DataObject, height: int, width: int) -> None:
    planes = [
        data.draw(
            st.lists(st.integers(int(low), int(high)), min_size=height * width, max_size=height * width)
        )
        for low, high in zip(TABLES.z_low, TABLES.z_high, strict=True)
    ]
    z = np.array(planes, np.int8).reshape(-1, height, width)
    assert np.array_equal(CODER.decode_z(CODER.encode_z(z), height, width), z)


def test_chunks_do_not_show_in_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    coder = SymbolCoder(TABLES, ContextModel.identity())
    for shape, low, high in (
        ((1, 3, 2 * CHUNK_SYMBOLS + 17), 30, 31),
        ((3, 5, CHUNK_SYMBOLS - 5), 0, LAPLACE_TABLES),
    ):
        indices = rng.integers(low, high, shape).astype(np.uint8)
        residuals = (rng.laplace(0, 2 * laplace_scales()[indices]).round() * (indices > 0)).astype(
            np.int16
        )  # some escape
        data = coder.encode_residuals(residuals, indices)
        assert np.array_equal(coder.decode_residuals(data, indices), residuals)
        with monkeypatch.context() as patch:
            patch.setattr("models.entropy.coder.CHUNK_SYMBOLS", 1 << 22)
            assert coder.encode_residuals(residuals, indices) == data


def test_the_stream_is_as_long_as_the_tables_say() -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, LAPLACE_TABLES, (CHANNELS, 100, 100)).astype(np.uint8)
    residuals = rng.laplace(0, laplace_scales()[indices]).round().astype(np.int16) * (indices > 0)
    corrected = CONTEXT_MODEL.all_corrected(indices, residuals)
    bits = TABLES.laplace_bits()[corrected, np.minimum(np.abs(residuals), LARGEST_SUPPORT + 1)].sum()
    assert 8 * len(CODER.encode_residuals(residuals, corrected)) == pytest.approx(bits, rel=0.001)


def test_any_range_decoder_of_integers_reads_it() -> None:
    """The docstring of `models.entropy.coder` says enough to write one."""
    table = 40
    rng = np.random.default_rng(0)
    residuals = rng.integers(-9, 10, (1, 1, 400)).astype(np.int16)
    stream = SymbolCoder(TABLES, ContextModel.identity()).encode_residuals(
        residuals, np.full_like(residuals, table, np.uint8)
    )

    counts = TABLES.laplace[table]
    before = np.concatenate([[0], np.cumsum(counts)]).tolist()
    cumulative = [((count * (TOTAL - len(counts))) >> 24) + i for i, count in enumerate(before[:-1])] + [
        TOTAL
    ]
    words = iter(np.frombuffer(stream + bytes(-len(stream) % 4), "<u4").tolist())
    mask = (1 << 64) - 1
    lower = 0
    width = mask
    point = (next(words) << 32) | next(words)
    decoded = []
    for _ in range(residuals.size):
        unit = width >> 24
        symbol = bisect_right(cumulative, ((point - lower) & mask) // unit) - 1
        lower = (lower + unit * cumulative[symbol]) & mask
        width = unit * (cumulative[symbol + 1] - cumulative[symbol])
        if width < 1 << 32:
            lower = (lower << 32) & mask
            width <<= 32
            point = ((point << 32) & mask) | next(words, 0)
        decoded.append(symbol - TABLES.support[table])
    assert decoded == [*residuals[0, 0, 0::2], *residuals[0, 0, 1::2]]  # phase by phase


def test_surely_zero_costs_nothing() -> None:
    zero = np.zeros((CHANNELS, 10, 10))
    assert CODER.encode_residuals(zero.astype(np.int16), zero.astype(np.uint8)) == b""


@given(st.binary(max_size=200))
def test_foreign_bytes_give_symbols_or_our_error(data: bytes) -> None:
    indices = (np.arange(CHANNELS * 100) % LAPLACE_TABLES).astype(np.uint8).reshape(CHANNELS, 10, 10)
    with contextlib.suppress(DamagedStreamError):
        assert CODER.decode_residuals(data, indices).shape == indices.shape
    with contextlib.suppress(DamagedStreamError):
        assert CODER.decode_z(data, 3, 3).shape == (4, 3, 3)


def test_left_over_symbols_are_damage() -> None:
    indices = np.full((CHANNELS, 10, 10), 40, np.uint8)
    residuals = np.random.default_rng(0).integers(-9, 10, indices.shape).astype(np.int16)
    data = CODER.encode_residuals(residuals, CONTEXT_MODEL.all_corrected(indices, residuals))
    with pytest.raises(DamagedStreamError):
        CODER.decode_residuals(data, indices[:, :5])

"""models.entropy.code_lengths"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.entropy import code_lengths
from models.entropy.code_lengths import CodeLengths
from models.entropy.coder import SymbolCoder
from models.entropy.context_model import ContextModel
from models.entropy.tables import ESCAPE_BITS, LAPLACE_TABLES, laplace_scales
from tests.models.entropy.integers import CHANNELS, CONTEXT_MODEL, TABLES

CODER = SymbolCoder(TABLES, CONTEXT_MODEL)
LENGTHS = CodeLengths(TABLES, CONTEXT_MODEL, torch.device("cpu"))


def pictures(count: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Indices and residuals (count, M, side, side), a few of them escaped."""
    rng = np.random.default_rng(0)
    indices = rng.integers(0, LAPLACE_TABLES, (count, CHANNELS, side, side)).astype(np.uint8)
    residuals = (rng.laplace(0, laplace_scales()[indices]) * (indices > 0)).round().astype(np.int16)
    residuals[indices == 20] *= 40
    return indices, residuals


def hyper_latents(count: int, side: int) -> NDArray[np.int8]:
    """z (count, C, side, side) within its tables."""
    spread = np.random.default_rng(0).normal(0, 3, (count, len(TABLES.z), side, side))
    low = TABLES.z_low[:, None, None]
    high = TABLES.z_high[:, None, None]
    return (spread + TABLES.z_centre[:, None, None]).round().clip(low, high).astype(np.int8)


def test_residuals_take_as_many_bits_as_the_coder_writes() -> None:
    indices, residuals = pictures(2, 60)
    for values in (torch.from_numpy(residuals), torch.from_numpy(residuals).float()):
        bits, tables = LENGTHS.of_residuals(torch.from_numpy(indices), values)
        pictures_and_tables = zip(residuals, tables.numpy(), strict=True)
        written = [8 * len(CODER.encode_residuals(*picture)) for picture in pictures_and_tables]
        assert bits.tolist() == pytest.approx(written, rel=0.005)


def test_hyper_latents_take_as_many_bits_as_the_coder_writes() -> None:
    z = hyper_latents(2, 60)
    written = [8 * len(CODER.encode_z(picture)) for picture in z]
    for values in (torch.from_numpy(z), torch.from_numpy(z).float()):
        assert LENGTHS.of_hyper_latents(values).tolist() == pytest.approx(written, rel=0.005)


def test_tables_are_chosen_as_the_coder_chooses_them() -> None:
    indices, residuals = pictures(1, 9)
    corrected = LENGTHS.corrected(torch.from_numpy(indices), torch.from_numpy(residuals))
    assert corrected.dtype == torch.uint8
    assert np.array_equal(corrected[0].numpy(), CONTEXT_MODEL.all_corrected(indices[0], residuals[0]))


def test_a_residual_beyond_its_table_costs_the_escape() -> None:
    table = 20
    support = int(TABLES.support[table])
    bits = LENGTHS.under(torch.full((4,), table), torch.tensor([support, support + 1, -support - 1, 30_000]))
    assert bits[1] == bits[2] == bits[3]
    assert bits[1] > max(float(bits[0]), ESCAPE_BITS)


def test_table_0_costs_nothing() -> None:
    assert not LENGTHS.under(torch.zeros(3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int16)).any()


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    indices, residuals = (torch.from_numpy(values) for values in pictures(2, 23))
    lengths = CodeLengths(TABLES, ContextModel.identity(), torch.device("cpu"))
    whole, _ = lengths.of_residuals(indices, residuals)
    monkeypatch.setattr(code_lengths, "STRIP_ROWS", 5)
    torch.testing.assert_close(lengths.of_residuals(indices, residuals)[0], whole)

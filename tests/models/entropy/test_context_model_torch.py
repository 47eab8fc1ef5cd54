"""models.entropy.context_model_torch"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.entropy import context_model_torch
from models.entropy.context_model import ContextModel
from models.entropy.context_model_torch import ExactContextModel
from models.errors import WeightsError
from tests.models.entropy.integers import CHANNELS, CONTEXT_MODEL, a_picture

CPU = torch.device("cpu")
STACKED = ExactContextModel(CONTEXT_MODEL, CPU)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.sets(st.integers(0, CHANNELS - 1)))
def test_stacked_networks_choose_as_the_definition_does(
    rows: int, columns: int, batch: int, surely_zero: set[int]
) -> None:
    """Batches, odd sizes, and channels that are surely zero everywhere."""
    pictures = [a_picture((CHANNELS, rows, columns)) for _ in range(batch)]
    for picture in pictures:
        for part in picture:
            part[list(surely_zero)] = 0
    expected = np.stack([CONTEXT_MODEL.all_corrected(*picture) for picture in pictures])
    indices, residuals = (torch.from_numpy(np.stack(part)) for part in zip(*pictures, strict=True))
    for values in (residuals, residuals.float()):
        assert np.array_equal(STACKED.all_corrected(indices, values).numpy(), expected)


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    indices, residuals = (torch.from_numpy(part)[None] for part in a_picture((CHANNELS, 23, 9)))
    whole = STACKED.all_corrected(indices, residuals)
    for elements in (1, 1000):
        monkeypatch.setattr(context_model_torch, "STRIP_ELEMENTS", elements)
        assert torch.equal(STACKED.all_corrected(indices, residuals), whole)


def test_empty_networks_move_nothing() -> None:
    indices, residuals = (torch.from_numpy(part)[None] for part in a_picture((CHANNELS, 5, 7)))
    found = ExactContextModel(ContextModel.identity(), CPU).all_corrected(indices, residuals)
    assert torch.equal(found, indices)


def test_a_device_that_chooses_other_tables_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = torch.Tensor.floor_
    monkeypatch.setattr(torch.Tensor, "floor_", lambda values: exact(values.bfloat16().double()))
    with pytest.raises(WeightsError, match="context networks on cpu do not choose as NumPy does"):
        ExactContextModel(CONTEXT_MODEL, CPU)

"""models.entropy.context_model"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.entropy import context_model
from models.entropy.context_model import (
    HYPER_CONTEXTS,
    MAGNITUDE_LEVELS,
    NEIGHBOURS,
    PHASES,
    ContextModel,
    Known,
    Layer,
    hyper_contexts,
    known_before,
    magnitude_level,
    neighbour_sum,
)
from models.entropy.requantisation import Integers
from models.errors import WeightsError
from models.grid import Phase
from tests.models.entropy.integers import CENTRE, CHANNELS, CONTEXT_MODEL, a_picture

sizes = st.tuples(st.just(CHANNELS), st.integers(1, 9), st.integers(1, 9))
every_phase = pytest.mark.parametrize("phase", PHASES)


def test_the_phases_cover_every_place_once_and_look_only_at_earlier_ones() -> None:
    order = {phase: number for number, phase in enumerate(PHASES)}
    assert sorted(order) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for row, column in PHASES:
        for down, right in NEIGHBOURS[row, column]:
            assert order[(row + down) % 2, (column + right) % 2] < order[row, column]


@every_phase
@given(size=sizes)
def test_sums_around_are_sums_over_the_neighbours_there_are(phase: Phase, size: tuple[int, int, int]) -> None:
    values = np.random.default_rng(0).integers(-99, 100, size)
    sums = neighbour_sum(values, phase)
    for row in range(phase[0], size[1], 2):
        for column in range(phase[1], size[2], 2):
            places = [(row + down, column + right) for down, right in NEIGHBOURS[phase]]
            inside = [(i, j) for i, j in places if 0 <= i < size[1] and 0 <= j < size[2]]
            expected = sum((values[:, i, j] for i, j in inside), np.zeros(size[0], int))
            assert np.array_equal(sums[:, row // 2, column // 2], expected)


@every_phase
@given(size=sizes)
def test_what_is_not_yet_decoded_does_not_matter(phase: Phase, size: tuple[int, int, int]) -> None:
    indices, residuals = a_picture(size)
    z = np.random.default_rng(1).integers(-63, 64, (len(CENTRE), *size[1:]))
    later_residuals = residuals.copy()
    later_z = z.copy()
    for row, column in PHASES[PHASES.index(phase) :]:
        later_residuals[:, row::2, column::2] = 33
        later_z[:, row::2, column::2] = 33
    levels = magnitude_level(residuals)
    known: Known[Integers] = known_before(indices, levels, phase)
    known_later: Known[Integers] = known_before(indices, magnitude_level(later_residuals), phase)
    own = levels[:, phase[0] :: 2, phase[1] :: 2].copy()
    for band, channels in CONTEXT_MODEL.bands():
        tables = CONTEXT_MODEL.tables(known, own, band)
        own[channels.start :] = 33
        assert np.array_equal(CONTEXT_MODEL.tables(known_later, own, band), tables)
        own[channels] = levels[channels, phase[0] :: 2, phase[1] :: 2]
    centre = CENTRE[:, None, None]
    assert np.array_equal(hyper_contexts(z, centre, phase), hyper_contexts(later_z, centre, phase))


def test_what_is_decoded_does() -> None:
    """Every input of every network that a picture has: a change there changes some table."""
    indices, residuals = a_picture((CHANNELS, 8, 8))
    levels = magnitude_level(residuals)
    larger = magnitude_level(residuals + 9 * np.sign(residuals))
    for phase in PHASES:
        own, own_larger = (values[:, phase[0] :: 2, phase[1] :: 2] for values in (levels, larger))
        known: Known[Integers] = known_before(indices, levels, phase)
        known_larger: Known[Integers] = known_before(indices, larger, phase)
        for band, channels in CONTEXT_MODEL.bands():
            tables = CONTEXT_MODEL.tables(known, own, band)
            if NEIGHBOURS[phase]:
                assert (CONTEXT_MODEL.tables(known_larger, own, band) != tables).any()
            if channels.start:
                assert (CONTEXT_MODEL.tables(known, own_larger, band) != tables).any()


@given(size=sizes, batch=st.integers(1, 3))
def test_torch_draws_the_same_conclusions_of_z(size: tuple[int, int, int], batch: int) -> None:
    z = np.random.default_rng(2).integers(-63, 64, (batch, len(CENTRE), *size[1:]))
    centre = CENTRE[:, None, None]
    for phase in PHASES:
        contexts = hyper_contexts(torch.from_numpy(z).float(), torch.from_numpy(centre), phase)
        assert np.array_equal(
            contexts.numpy(), np.stack([hyper_contexts(picture, centre, phase) for picture in z])
        )
        assert ((contexts >= 0) & (contexts < HYPER_CONTEXTS)).all()


def test_floats_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """64-bit integers give the same tables."""
    indices, residuals = a_picture((CHANNELS, 24, 24))
    found = CONTEXT_MODEL.all_corrected(indices, residuals)

    def by_definition(layer: Layer, x: Integers, lowest: int, highest: int) -> Integers:
        weight, bias, multiplier = (part.astype(np.int64) for part in layer.integers())
        total = weight @ x.astype(np.int64) + bias[:, None]
        return ((total * multiplier[:, None] + (1 << 23)) >> 24).clip(lowest, highest).astype(np.float32)

    monkeypatch.setattr(Layer, "__call__", by_definition)
    assert np.array_equal(found, CONTEXT_MODEL.all_corrected(indices, residuals))


def test_networks_whose_sums_would_not_be_exact_are_refused() -> None:
    large = Layer.of(np.full((1, 2200), 127), np.zeros(1), np.ones(1))
    with pytest.raises(WeightsError, match="exact"):
        replace(ContextModel.identity(), networks=(((large,),), ((),), ((),)))


def test_networks_whose_products_would_not_be_exact_are_refused() -> None:
    large = Layer.of(np.full((1, 1000), 127), np.zeros(1), np.array([2**31 - 1]))
    with pytest.raises(WeightsError, match=r"2\*\*53"):
        replace(ContextModel.identity(), networks=(((large,),), ((),), ((),)))


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    indices, residuals = a_picture((CHANNELS, 23, 11))
    whole = CONTEXT_MODEL.all_corrected(indices, residuals)
    for strip in (1, 100, 300):
        monkeypatch.setattr(context_model, "STRIP_ELEMENTS", strip)
        assert np.array_equal(CONTEXT_MODEL.all_corrected(indices, residuals), whole)


def test_surely_zero_stays_so_and_nothing_else_becomes_it() -> None:
    indices, residuals = a_picture((CHANNELS, 12, 12))
    corrected = CONTEXT_MODEL.all_corrected(indices, residuals)
    assert np.array_equal(corrected == 0, indices == 0)
    assert (corrected[indices > 0] != indices[indices > 0]).mean() > 0.5


@given(st.sets(st.integers(0, CHANNELS - 1)), st.integers(1, 7), st.integers(1, 7))
def test_channels_that_are_surely_zero_need_not_be_there(channels: set[int], rows: int, columns: int) -> None:
    """Whole networks without them, and networks that never knew them, choose alike."""
    indices, residuals = a_picture((CHANNELS, rows, columns))
    for channel in range(CHANNELS):
        if channel not in channels:
            indices[channel] = residuals[channel] = 0
    levels = magnitude_level(residuals)
    expected = indices.copy()
    for row, column in PHASES:
        known: Known[Integers] = known_before(indices, levels, (row, column))
        for band, own in CONTEXT_MODEL.bands():
            tables = CONTEXT_MODEL.tables(known, levels[:, row::2, column::2], band)
            expected[own, row::2, column::2] = tables
    assert np.array_equal(CONTEXT_MODEL.all_corrected(indices, residuals), expected)


def test_empty_networks_move_nothing() -> None:
    indices, residuals = a_picture((CHANNELS, 5, 7))
    assert np.array_equal(ContextModel.identity().all_corrected(indices, residuals), indices)


def test_magnitude_levels_are_logarithmic_and_end() -> None:
    magnitudes = np.arange(1000).reshape(1, 10, 100)
    expected = np.minimum(16 * np.log2(1 + magnitudes), MAGNITUDE_LEVELS[-1])
    assert np.abs(magnitude_level(magnitudes) - expected).max() <= 1
    assert np.array_equal(magnitude_level(-magnitudes), magnitude_level(magnitudes))


def test_arrays_restore_the_integers() -> None:
    arrays = CONTEXT_MODEL.to_arrays()
    restored = ContextModel.from_arrays(arrays).to_arrays()
    assert restored.keys() == arrays.keys()
    assert all(name.startswith("neighbours.") for name in arrays)  # as model ids hash them
    assert all(np.array_equal(restored[name], arrays[name]) for name in arrays)


def test_weights_of_another_version_are_refused() -> None:
    with pytest.raises(WeightsError, match="shifts"):
        ContextModel.from_arrays(CONTEXT_MODEL.to_arrays() | {"neighbours.shifts": np.zeros(1)})

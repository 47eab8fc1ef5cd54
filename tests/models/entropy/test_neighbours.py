"""models.entropy.neighbours"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.entropy import neighbours
from models.entropy.neighbours import HYPER_CONTEXTS, LARGEST_MAGNITUDE, PHASES, TAPS, UNIT, Neighbours, around, hyper_contexts
from models.entropy.tables import LAPLACE_TABLES, laplace_scales
from models.grid import Phase
from tests.models.entropy.integers import CENTRE, NEIGHBOURS

sizes = st.tuples(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9))
every_phase = pytest.mark.parametrize("phase", PHASES)


def a_picture(shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    rng = np.random.default_rng(sum(shape))
    indices = rng.integers(0, LAPLACE_TABLES, shape).astype(np.uint8)
    residuals = (rng.laplace(0, laplace_scales()[indices]) * (indices > 0)).round().astype(np.int16)
    return indices, residuals


def test_the_phases_cover_every_place_once_and_look_only_at_earlier_ones() -> None:
    order = {phase: number for number, phase in enumerate(PHASES)}
    assert sorted(order) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for row, column in PHASES:
        for down, right in TAPS[row, column]:
            assert order[(row + down) % 2, (column + right) % 2] < order[row, column]


@every_phase
@given(size=sizes)
def test_sums_around_are_sums_over_the_neighbours_there_are(phase: Phase, size: tuple[int, int, int]) -> None:
    values = np.random.default_rng(0).integers(-99, 100, size)
    sums = around(values, phase)
    for row in range(phase[0], size[1], 2):
        for column in range(phase[1], size[2], 2):
            places = [(row + down, column + right) for down, right in TAPS[phase]]
            inside = [(i, j) for i, j in places if 0 <= i < size[1] and 0 <= j < size[2]]
            expected = sum((values[:, i, j] for i, j in inside), np.zeros(size[0], int))
            assert np.array_equal(sums[:, row // 2, column // 2], expected)


@every_phase
@given(size=sizes)
def test_what_is_not_yet_decoded_does_not_matter(phase: Phase, size: tuple[int, int, int]) -> None:
    indices, residuals = a_picture(size)
    z = np.random.default_rng(1).integers(-63, 64, (len(CENTRE), *size[1:]))
    later = residuals.copy(), z.copy()
    for row, column in PHASES[PHASES.index(phase) :]:
        for values in later:
            values[:, row::2, column::2] = 33
    assert np.array_equal(NEIGHBOURS.corrected(indices, residuals, phase), NEIGHBOURS.corrected(indices, later[0], phase))
    centre = CENTRE[:, None, None]
    assert np.array_equal(hyper_contexts(z, centre, phase), hyper_contexts(later[1], centre, phase))


@every_phase
@given(size=sizes, batch=st.integers(1, 3))
def test_torch_draws_the_same_conclusions(phase: Phase, size: tuple[int, int, int], batch: int) -> None:
    pictures = [a_picture((size[0], size[1], size[2])) for _ in range(batch)]
    on_device = NEIGHBOURS.mapped(torch.from_numpy)
    indices, residuals = (np.stack(part) for part in zip(*pictures, strict=True))
    corrected = on_device.corrected(torch.from_numpy(indices), torch.from_numpy(residuals), phase)
    assert np.array_equal(corrected.numpy(), np.stack([NEIGHBOURS.corrected(*picture, phase) for picture in pictures]))
    tables = on_device.all_corrected(torch.from_numpy(indices), torch.from_numpy(residuals))
    assert np.array_equal(tables.numpy(), np.stack([NEIGHBOURS.all_corrected(*picture) for picture in pictures]))
    z = np.random.default_rng(2).integers(-63, 64, (batch, len(CENTRE), *size[1:]))
    centre = CENTRE[:, None, None]
    contexts = hyper_contexts(torch.from_numpy(z).float(), torch.from_numpy(centre), phase)
    assert np.array_equal(contexts.numpy(), np.stack([hyper_contexts(one, centre, phase) for one in z]))
    assert ((contexts >= 0) & (contexts < HYPER_CONTEXTS)).all()


@every_phase
def test_strips_do_not_show(phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    indices, residuals = a_picture((7, 23, 11))
    whole = NEIGHBOURS.corrected(indices, residuals, phase)
    for strip in (1, 100, 300):
        monkeypatch.setattr(neighbours, "STRIP", strip)
        assert np.array_equal(NEIGHBOURS.corrected(indices, residuals, phase), whole)


@every_phase
@given(size=sizes)
def test_a_band_is_corrected_by_lower_bands_alone(phase: Phase, size: tuple[int, int, int]) -> None:
    indices, residuals = a_picture(size)
    indices, residuals = indices[:, phase[0] :: 2, phase[1] :: 2].copy(), residuals[:, phase[0] :: 2, phase[1] :: 2].copy()
    for band, channels in NEIGHBOURS.bands(size[0]):
        corrected = indices.copy()
        NEIGHBOURS.correct_band(corrected, residuals, phase, band)
        elsewhere = np.ones(size[0], bool)
        elsewhere[channels] = False
        assert np.array_equal(corrected[elsewhere], indices[elsewhere])
        assert np.array_equal(corrected == 0, indices == 0)
        residuals[channels.start :] = 33  # no matter, not decoded yet
        again = indices.copy()
        NEIGHBOURS.correct_band(again, residuals, phase, band)
        assert np.array_equal(again, corrected)
        residuals[channels] = 0
        indices = corrected


def test_louder_lower_bands_are_a_greater_surprise() -> None:
    tables = np.full((12, 1, 1), 45, np.uint8)
    kinds = [int(NEIGHBOURS.band_surprise(tables, np.full(tables.shape, size, np.int16), 2)[0, 0]) for size in (0, 3, 9)]
    assert kinds == sorted(set(kinds))


def test_surely_zero_stays_so_and_nothing_else_becomes_it() -> None:
    indices, residuals = a_picture((40, 12, 12))
    assert np.array_equal(NEIGHBOURS.all_corrected(indices, residuals) == 0, indices == 0)


def test_louder_neighbours_are_a_greater_surprise() -> None:
    indices = np.full((30, 5, 5), 45, np.uint8)
    kinds = [int(NEIGHBOURS.surprise(indices, np.full(indices.shape, size, np.int16), (1, 1))[15, 1, 1]) for size in (0, 3, 9, 400)]
    assert kinds == sorted(set(kinds))


def test_the_magnitude_to_expect_is_that_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    for index in (1, 20, 40, 63):
        drawn = np.abs(rng.laplace(0, laplace_scales()[index], 200_000).round()).clip(0, LARGEST_MAGNITUDE)
        assert NEIGHBOURS.expected[index] == pytest.approx(UNIT * drawn.mean(), abs=0.6, rel=0.02)


def test_arrays_restore_the_integers() -> None:
    restored = Neighbours.from_arrays(NEIGHBOURS.to_arrays())
    for field in fields(Neighbours):
        assert np.array_equal(getattr(restored, field.name), getattr(NEIGHBOURS, field.name))


def test_weights_from_before_there_were_bands_have_one() -> None:
    arrays = {name: values for name, values in NEIGHBOURS.to_arrays().items() if "band" not in name}
    assert list(Neighbours.from_arrays(arrays).bands(40)) == [(0, slice(0, None))]

"""models.training.cells: a probe fitted to a few pictures tells text from what they were."""

from __future__ import annotations

import numpy as np

from models.overlay.cells import look
from models.training.cells import fit
from tests.models.overlay.samples import captioned, page, photograph


def test_a_fitted_probe_finds_text() -> None:
    rng = np.random.default_rng(0)
    pictures = [np.roll(photograph(), tuple(rng.integers(0, 384, 2)), (0, 1)) for _ in range(3)]
    probe = fit([*pictures, page()])
    rgb, where = captioned(photograph())
    odds = probe.odds(look(rgb)[0][::2])
    written = where.reshape(12, 32, 8, 64).mean((1, 3)) > 0.05
    assert odds[written].mean() > odds[~written].mean() + 2

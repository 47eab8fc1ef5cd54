"""Integers as a model has them, for the tests of what codes with them."""

from __future__ import annotations

import numpy as np

from models.entropy.neighbours import BINS, HYPER_CONTEXTS, Neighbours
from models.entropy.tables import Z_LIMIT, Tables, laplace_tables

VALUES = np.arange(-Z_LIMIT, Z_LIMIT + 1)
CENTRE = np.array([-3, 0, 0, 7])
TABLES = Tables.make(
    np.array([[0.6 ** np.abs(VALUES - centre - context / 2) for context in range(HYPER_CONTEXTS)] for centre in CENTRE]), CENTRE
)
_DRAW = np.random.default_rng(5)
NEIGHBOURS = Neighbours.make(
    laplace_tables(),
    _DRAW.integers(-16, 17, (2, BINS**3), np.int32),
    (0, 2, 7, 20),
    _DRAW.integers(-4, 5, (3, 3, BINS**2), np.int32),
)

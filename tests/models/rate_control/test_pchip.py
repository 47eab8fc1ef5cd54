"""models.rate_control.pchip"""

from __future__ import annotations

import numpy as np
import pytest

from models.rate_control.pchip import Pchip


def test_pchip_equals_scipy() -> None:
    """Expected: scipy 1.17.1, PchipInterpolator, with a flat piece and a turning point."""
    x = np.array([0.0, 1.0, 1.5, 3.0, 4.0, 6.0])
    y = np.array([0.0, 2.0, 2.0, 5.0, 4.5, 7.0])
    curve = Pchip(x, y)
    at = np.array([0.0, 0.3, 1.2, 2.0, 2.9, 3.4, 5.0, 6.0])
    np.testing.assert_allclose(
        curve(at), [0.0, 0.922, 2.0, 2.777777777778, 4.961777777778, 4.824, 5.145833333333, 7.0], atol=1e-12
    )
    assert curve.mean(0.2, 5.5) == pytest.approx(3.714488371331)


def test_pchip_of_two_points_is_a_line() -> None:
    assert Pchip(np.array([1.0, 3.0]), np.array([2.0, 6.0])).mean(1.5, 2.5) == pytest.approx(4)

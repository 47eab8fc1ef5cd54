from __future__ import annotations

import pytest

from models.metrics import strips


def test_strips_hold_all_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "STRIP_PIXELS", 50)
    assert strips.strips(11, 10) == [slice(0, 5), slice(5, 10), slice(10, 11)]
    assert strips.strips(11, 10, multiple=2)[0] == slice(0, 4)
    assert strips.strips(2, 1000) == [slice(0, 1), slice(1, 2)]
    assert strips.strips(3, 1000, multiple=2) == [slice(0, 2), slice(2, 3)]

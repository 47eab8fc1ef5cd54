"""The first steps of children are tested in `test_entropy` and `test_imaging`, on real ones."""

from __future__ import annotations

import pytest

from service.engine import child


def test_only_a_child_begins() -> None:
    with pytest.raises(AssertionError):
        child.begin()

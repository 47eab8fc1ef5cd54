"""Packages that import torchvision load beside any build of torch, and compute what they should."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from models.evaluation import packages


@pytest.mark.parametrize("name", ["piq", "pycvvdp"])
def test_a_package_loads_beside_any_torchvision(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"needs {name}, of the extra `evaluation`")
    assert packages.load(name).__name__ == name
    assert packages.load(name) is packages.load(name)


def test_one_that_is_not_installed() -> None:
    with pytest.raises(ImportError):
        packages.load("no_such_package_of_metrics")

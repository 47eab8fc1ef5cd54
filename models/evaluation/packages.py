"""Packages of metrics that import torchvision, which many builds of torch cannot load."""

from __future__ import annotations

import re
import warnings
from functools import cache
from importlib import import_module
from threading import Lock
from types import ModuleType

import torch

MISSING_OPERATOR = re.compile(r"operator (torchvision::\w+) does not exist")
MOST_OPERATORS = 8  # that torchvision is short of; two with torchvision 0.28


_LOADING = Lock()


def load(name: str) -> ModuleType:
    """Import a package that imports torchvision for networks that are not used here.

    torchvision from PyPI is built for CUDA. Beside a CPU build of torch its operators do not load,
    and its import ends at the first one whose shape function it registers. Where such operators are
    declared, without code, the rest of it works: it is Python, and no metric here needs the others.

    Raises:
        ImportError: the package, or something that it needs, is not installed.
    """
    with _LOADING:
        return _load(name)


@cache
def _load(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of image libraries that are not used either
        _load_torchvision()
        return import_module(name)


def _load_torchvision() -> None:
    for _ in range(MOST_OPERATORS):
        try:
            import_module("torchvision")
        except RuntimeError as error:
            missing = MISSING_OPERATOR.search(str(error))
            if missing is None:
                raise
            torch.library.define(missing[1], "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        else:
            return
    raise ImportError("torchvision lacks too many operators")

"""Fixtures of all tests: one thread, one seed, no outside settings, a picture worth compressing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

if TYPE_CHECKING:
    from models.learned.codec import LearnedCodec


# Tiny pictures are faster on one thread; subprocesses inherit it. Who asks for more threads gets
# them. Settings of the machine's owner must not reach the tests.
torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", "1")))
for name in [name for name in os.environ if name.startswith(("ZIGGURAT_", "OTEL_"))]:
    del os.environ[name]

# No deadline: a shared machine stalls now and then. In CI the examples are the same in every run.
settings.register_profile("ziggurat", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True)
settings.load_profile("ziggurat")


def pytest_xdist_auto_num_workers() -> int:
    """One worker more than there are cores: many a test waits for a process that it has started."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """128x96, RGB: smooth light, an edge, and a textured patch, so that the rate follows the
    quality as it does on photographs.
    """
    rows, columns = np.mgrid[0:96, 0:128]
    light = 40 + columns + 0.6 * rows
    rgb = np.stack([light, 0.8 * light + 30 * np.sin(rows / 9), 200 - light], axis=2)
    rgb[columns + rows > 150] *= 0.45
    rgb[20:60, 20:60] += np.random.default_rng(3).normal(0, 18, (40, 40, 1))
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def codec() -> LearnedCodec:
    """The default model on the CPU, loaded once for the session."""
    from models.learned.codec import LearnedCodec

    return LearnedCodec.load()


@pytest.fixture(scope="session")
def installed() -> Callable[[str], str]:
    """The path of a program that not every machine has.

    Without it a test is skipped, but never in CI.
    """

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None and os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        return path or pytest.skip(
            f"{program} is not installed: apt-get install prometheus, or https://prometheus.io/download"
        )

    return find

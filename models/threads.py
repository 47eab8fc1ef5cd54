"""Threads: how many of torch's a step is worth.

torch shares nearly every operation among its threads. Those that wait sleep, and take 0.05 to 0.2
ms to wake, hundreds of times in a picture. Short operations end sooner on one thread: a Kodak
picture is encoded in 160 ms instead of 230 on two cores.

`torch.set_num_threads` is for the whole process: a thread that begins meanwhile would keep what it
finds. OpenMP, asked directly, sets it for the calling thread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

# Where a second thread begins to pay, measured on two cores at 64x64 to 2048x2048 pixels: of y's
# elements in what lies between y and the symbols, and of pixels in the transforms.
LATENTS = 1 << 20
PIXELS = 1 << 16


@contextmanager
def worth(amount: float, *, of: int) -> Iterator[None]:
    """Run what follows on one thread, in the calling thread alone, unless there is enough of it.

    Args:
        amount: of work, such as pixels.
        of: the amount from which on all threads are worth it.
    """
    set_to = _openmp()
    if amount >= of or set_to is None:
        yield
        return
    before = torch.get_num_threads()  # which also has torch set it, in a thread that is new to it
    set_to(1)
    try:
        yield
    finally:
        set_to(before)


@cache
def _openmp() -> Callable[[int], Any] | None:
    """Find the setter of torch's OpenMP; None where it has none."""
    library = ctypes.CDLL(torch._C.__file__)  # and the libraries that it depends on
    return library.omp_set_num_threads if hasattr(library, "omp_set_num_threads") else None

"""The threads of NumPy's matrix products."""

from __future__ import annotations

from models.entropy.blas import open_blas


def blas_threads() -> int:
    """Count those of OpenBLAS."""
    functions = open_blas()
    assert functions is not None
    get, _ = functions
    return get()

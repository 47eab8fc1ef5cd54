"""The HTTP service around the codec of `models`, and its command line."""

import os

import models  # noqa: F401  # it says how threads wait, before anything here loads torch

__version__: str

# Pictures share the cores by being many. NumPy's own threads would spin at their barrier for cores
# that other pictures have. OpenBLAS reads this once, when NumPy is loaded, here or in a worker.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def __getattr__(name: str) -> str:
    """Look up `__version__` when it is asked for: that takes longer than reading a stream."""
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("ziggurat")
        except PackageNotFoundError:  # a checkout that was not installed
            return "unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

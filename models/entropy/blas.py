"""One thread for NumPy's matrix products.

OpenBLAS shares a product among threads of its own, which wait for each other in a busy loop. Where
torch's threads or another process have the cores, they wait for one that does not run, and a
product of 0.03 ms takes 6 to 16. The products of the entropy stage are too small to gain from it.

threadpoolctl obeys only the first thread that asks; any thread may code a picture. So OpenBLAS is
asked directly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from threading import Lock

# How OpenBLAS' builds call their functions: with or without NumPy's prefix, for 64-bit or 32-bit
# indices.
_NAMES = tuple(
    f"{prefix}openblas_{{}}_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "")
)

_lock = Lock()
_uses = 0
_threads = 1  # before the first of the uses


@cache
def open_blas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Find the functions that get and set the number of threads of NumPy's OpenBLAS.

    None where NumPy uses another library: those have no threads of their own, or share torch's.
    """
    extension = find_spec("numpy.linalg._umath_linalg")
    if extension is None or extension.origin is None:
        return None
    library = ctypes.CDLL(extension.origin)  # and the libraries that it depends on
    for name in _NAMES:
        if hasattr(library, name.format("set")):
            return library[name.format("get")], library[name.format("set")]
    return None


@contextmanager
def single_threaded() -> Iterator[None]:
    """Keep OpenBLAS to one thread, in the whole process.

    The first to enter sets it and the last to leave sets it back; any thread may, and again within
    itself.
    """
    global _uses, _threads  # the setting is the process's
    found = open_blas()
    if found is None:
        yield
        return
    get, set_to = found
    with _lock:
        if not _uses:
            _threads = get()
            set_to(1)
        _uses += 1
    try:
        yield
    finally:
        with _lock:
            _uses -= 1
            if not _uses:
                set_to(_threads)

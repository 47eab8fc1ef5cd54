"""The stream store: streams under their SHA-256, written once, on a local disk or in a bucket."""

from .disk import Limits
from .errors import NotStoredError, StoreDamagedError, StoreError, StoreFullError, StoreUnavailableError
from .streams import Operation, StreamStore

__all__ = [
    "Limits",
    "NotStoredError",
    "Operation",
    "StoreDamagedError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "StreamStore",
]

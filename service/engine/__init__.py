"""The engine behind the HTTP layer: admission, batching, the device thread. Knows nothing of HTTP."""

from .collection import Collected, compress_collection
from .engine import Engine
from .work import Compressed, Decompressed, Enhanced, Measure, Timings

__all__ = ["Collected", "Compressed", "Decompressed", "Engine", "Enhanced", "Measure", "Timings", "compress_collection"]

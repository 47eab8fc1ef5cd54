"""The engine behind the HTTP layer: admission, batching, the device thread. Knows nothing of HTTP."""

from .engine import Engine
from .work import Compressed, Decompressed, Measure, Timings

__all__ = ["Compressed", "Decompressed", "Engine", "Measure", "Timings"]

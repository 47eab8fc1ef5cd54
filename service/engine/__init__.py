"""The engine behind the HTTP layer: admission, batching, the device thread. Knows nothing of HTTP."""

from .engine import Engine
from .work import Compressed, Measure

__all__ = ["Compressed", "Engine", "Measure"]

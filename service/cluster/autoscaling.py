"""The number of replicas, from the pixels that wait and not from the number of requests.

A thumbnail and a photograph of 40 megapixels are one request each.
"""

from __future__ import annotations

import math
from typing import Any

from ray.serve.config import AutoscalingContext

QUEUED_PIXELS = "queued_pixels"
"""Name of the figure that replicas report."""


class QueuedPixels:
    """A policy of Ray Serve: as many replicas as leave each its share of the pixels.

    Ray itself keeps the bounds and the delays of the deployment's configuration.

    Args:
        target: pixels admitted and not answered that each replica should have.
    """

    def __init__(self, target: float) -> None:
        self._target = target

    def __call__(self, context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
        """Return the number of replicas wanted, and a state, which is empty."""
        reported = (context.aggregated_metrics or {}).get(QUEUED_PIXELS, {})
        running = set(context.running_replicas)
        queued = sum(pixels for replica, pixels in reported.items() if replica in running)
        return math.ceil(queued / self._target), {}

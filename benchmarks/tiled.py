"""Large pictures out of small ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def tiled(photograph: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Tile pixels (H, W, 3) with their mirror images to (height, width, 3), or cut them so."""
    rows, columns, _ = photograph.shape
    down = np.pad(np.arange(rows), (0, max(0, height - rows)), mode="symmetric")[:height]
    right = np.pad(np.arange(columns), (0, max(0, width - columns)), mode="symmetric")[:width]
    return photograph[down[:, None], right]

"""Requantisation [format]: what makes sums of an integer network the inputs of its next layer.

    output = clamp((sum * multiplier + 2**23) >> 24, lowest, highest)

It is computed in float64. Every product provably stays within 2**53, where float64 holds all
integers; so do the bias and the half that are added, and the floor. Processors multiply four or
eight float64 at once, and few of them 64-bit integers.

`models.entropy.layer_torch` does the same with torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

Integers = NDArray[Any]  # whole numbers, in whatever type computes
Array = TypeVar("Array", Integers, "Tensor")

EXACT_LIMIT = 1 << 24  # float32 holds every integer up to here
EXACT_PRODUCT = 1 << 53  # and float64 up to here
MULTIPLIER_BITS = 24  # after the binary point, in a multiplier
UNIT = 2.0**-MULTIPLIER_BITS  # a multiplier of 1


def require_exact(worst_sum: int, multiplier: Integers, what: str) -> None:
    """Raise `WeightsError` unless float32 holds all sums of a layer, and float64 all products.

    Args:
        worst_sum: largest magnitude of a partial sum.
        multiplier: of every output, integers.
        what: the layer, for the error.
    """
    if worst_sum >= EXACT_LIMIT:
        raise WeightsError(f"{what} can exceed 2**24: its sums would not be exact in float32")
    if worst_sum * int(abs(multiplier.astype(np.int64)).max()) + (1 << MULTIPLIER_BITS) > EXACT_PRODUCT:
        raise WeightsError(f"{what} can exceed 2**53: its products would not be exact in float64")


def requantised(total: Integers, ratio: Integers, offset: Integers, lowest: int, highest: int) -> Integers:
    """Compute float32 integers in [lowest, highest], in the shape of `total`.

    Args:
        total: float32 sums, without bias.
        ratio: float64 multipliers times UNIT, of any shape that broadcasts.
        offset: of the bias, see `offset_of`, in the shape of `ratio`.
        lowest, highest: what the output is clamped to.
    """
    scaled: Integers = total * ratio
    scaled += offset
    np.floor(scaled, out=scaled)
    return scaled.clip(lowest, highest, out=scaled).astype(np.float32)


def offset_of(bias: Array, ratio: Array) -> Array:
    """Compute what a bias adds to the output, and the half that makes floor round: float64."""
    return bias * ratio + 0.5

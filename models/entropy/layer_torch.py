"""A layer of an integer network in torch [format]: a matrix product and its requantisation.

    places (n, in) --@ weight (in, out)--> sums --requantised--> places (n, out)

Integers are held in one of two types:

float32   On any device. Every sum provably stays within 2**24, where float32 holds all integers.
int8      On a CPU whose int8 products are exact: those with VNNI or AMX add into 32 bits, and
          take a tenth of the time. Others add pairs of products into 16 bits, which overflow;
          `int8_is_exact` tries it. Outputs in 0..255 are held as their value less 128, which
          the next layer's offset makes up for.

What is held in the weights file is the same, and so is every result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from models.entropy.scale_decoder import ACTIVATION_LIMIT

HELD_LESS = 128  # what outputs in 0..255 are held less by in int8
# Elements that are requantised at a time on a CPU: they stay in its second cache, and are too few
# for torch to wake another thread for, which takes longer than it saves.
CHUNK = 1 << 15
# Places, inputs and outputs of the products that are tried: a picture's, and what fills no vector.
_TRIED = ((1, 5, 3), (3, 864, 8), (33, 320, 320), (384, 1281, 64))


def kind_on(device: torch.device) -> torch.dtype:
    """Choose the type that integers are held in on a device."""
    return torch.int8 if device.type == "cpu" and int8_is_exact() else torch.float32


@cache
def int8_is_exact() -> bool:
    """Try whether this CPU's int8 matrix products are exact where sums of a few would overflow."""
    if not hasattr(torch, "_int_mm"):
        return False
    generator = torch.Generator().manual_seed(0)
    for places, inputs, outputs in _TRIED:
        x = torch.randint(-128, 128, (places, inputs), generator=generator)
        weight = torch.randint(-127, 128, (inputs, outputs), generator=generator)
        for extreme in (False, True):
            if extreme:
                x, weight = torch.where(x < 0, -128, 127), torch.where(weight < 0, -127, 127)
                weight[:, 0] = 127
                x[0] = 127
            expected = x.double() @ weight.double()
            if not torch.equal(torch._int_mm(x.char(), weight.char()).double(), expected):
                return False
    return True


@dataclass(frozen=True, slots=True, eq=False)
class RowLayer:
    """One layer, on one device.

    Attributes:
        weight: (in, out), in the type that integers are held in.
        ratio: float64 (out,), multipliers of `models.entropy.requantisation` times UNIT.
        offset: float64 (out,), of the bias and of what is held less.
        lowest, highest: what outputs are clamped to, as they are held.
        output: type of the outputs; one that torch converts to quickly.
    """

    weight: Tensor
    ratio: Tensor
    offset: Tensor
    lowest: int
    highest: int
    output: torch.dtype

    @classmethod
    def of(
        cls,
        weight: Tensor,
        ratio: Tensor,
        offset: Tensor,
        limits: tuple[int, int],
        kind: torch.dtype,
        *,
        hidden: bool,
    ) -> RowLayer:
        """Prepare a layer.

        Args:
            weight: (out, in), integers in -127..127, of any type.
            ratio: float64 (out,).
            offset: float64 (out,), see `models.entropy.requantisation.offset_of`.
            limits: what outputs are clamped to; 0 and ACTIVATION_LIMIT for the next layer.
            kind: see `kind_on`.
            hidden: whether the inputs come from another layer. Else they fit `kind` as they are.
        """
        lowest, highest = limits
        output = torch.float32
        if kind is torch.int8:
            if hidden:
                offset = offset + ratio * HELD_LESS * weight.double().sum(1)
            if highest == ACTIVATION_LIMIT:
                offset = offset - HELD_LESS
                lowest, highest = lowest - HELD_LESS, highest - HELD_LESS
            output = torch.int8 if highest < HELD_LESS else torch.int16
        return cls(_with_plain_strides(weight.t()).to(kind), ratio, offset, lowest, highest, output)

    def __call__(self, x: Tensor) -> Tensor:
        """Compute (n, out) from x (n, in)."""
        if self.weight.dtype is torch.int8:
            total = torch._int_mm(_with_plain_strides(x), self.weight)
        else:
            total = torch.mm(x, self.weight)  # the networks' self-checks notice one that is not exact
        if total.device.type != "cpu":
            return self._requantised(total).to(self.output)
        result = torch.empty_like(total, dtype=self.output)
        step = max(1, CHUNK // total.shape[1])
        for start in range(0, len(total), step):
            result[start : start + step] = self._requantised(total[start : start + step])
        return result

    def _requantised(self, total: Tensor) -> Tensor:
        """See `models.entropy.requantisation`; all of it is exact in float64, which it returns."""
        return (
            torch.addcmul(self.offset, total.double(), self.ratio).floor_().clamp_(self.lowest, self.highest)
        )


def _with_plain_strides(matrix: Tensor) -> Tensor:
    """Give a matrix the strides that its shape implies.

    A row or column alone may have others, with which `torch._int_mm` reads what lies beside it.
    """
    return matrix.reshape(-1).view(matrix.shape)

"""Position: a point on a codec's quality axis, from the coarsest to the finest quantiser."""

from __future__ import annotations

from dataclasses import dataclass

MAX_INDEX = 0xFFFF  # the container holds a position in 16 bits [format]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A point on a codec's quality axis.

    Attributes:
        index: 0..65535, as the container holds it.
    """

    index: int

    @classmethod
    def from_quality(cls, quality: float) -> Position:
        """The point nearest to a quality in [0, 100]."""
        return cls(round(quality / 100 * MAX_INDEX))

    @classmethod
    def from_share(cls, share: float) -> Position:
        """The point nearest to a share in [0, 1] of the axis."""
        return cls(round(share * MAX_INDEX))

    @property
    def quality(self) -> float:
        """The point as users know it, [0, 100]."""
        return 100 * self.index / MAX_INDEX

    @property
    def share(self) -> float:
        """The point as a share of the axis, [0, 1]."""
        return self.index / MAX_INDEX

    def anchor(self, anchors: int) -> float:
        """The point among `anchors` equally spaced gain vectors, [0, anchors - 1]."""
        return self.share * (anchors - 1)


COARSEST = Position(0)
FINEST = Position(MAX_INDEX)

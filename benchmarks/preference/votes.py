"""Votes: how often people preferred ours, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right"]
Z = 1.959964  # of 95 %, two-sided

# Fixed before anybody votes. A claim needs both; the controls must not fail.
CLAIMED_SHARE = 0.6
CLAIMED_LOWER_BOUND = 0.5


@dataclass(frozen=True, slots=True)
class Tally:
    """Votes for one of two.

    Attributes:
        won: votes for it.
        votes: in all.
    """

    won: int
    votes: int

    @property
    def share(self) -> float:
        """Share of the votes; 0 without any."""
        return self.won / self.votes if self.votes else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval of 95 % for the share (Wilson 1927); 0 to 1 without votes."""
        if not self.votes:
            return 0.0, 1.0
        n, p = self.votes, self.share
        centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        return max(0.0, centre - half), min(1.0, centre + half)

    @property
    def is_preferred(self) -> bool:
        """Say whether the votes are enough for a claim, by the rule that was fixed before."""
        return self.share >= CLAIMED_SHARE and self.interval[0] > CLAIMED_LOWER_BOUND


def tallies(
    key: Sequence[Mapping[str, object]], ballots: Iterable[Mapping[str, Side]], ours: str
) -> dict[str, Tally]:
    """Count the votes for ours, in all, by rate and by picture; and of the controls those for left.

    Args:
        key: the pairs, as `page.write` keeps them.
        ballots: of every voter, the side by the number of the pair.
        ours: name of the codec.

    Raises:
        ValueError: a ballot has a pair that is not in the key, or no side of it.
    """
    counts: dict[str, list[int]] = {}
    by_number = {str(pair["number"]): pair for pair in key}
    for ballot in ballots:
        for number, side in ballot.items():
            if number not in by_number or side not in ("left", "right"):
                raise ValueError(f"no such vote: {side!r} on pair {number!r}")
            pair = by_number[number]
            if pair["left"] == pair["right"]:
                groups = ["controls, left"]
                won = side == "left"
            else:
                groups = ["all", f"{pair['bpp']} bpp", str(pair["picture"])]
                won = pair[side] == ours
            for group in groups:
                count = counts.setdefault(group, [0, 0])
                count[0] += won
                count[1] += 1
    return {group: Tally(won, votes) for group, (won, votes) in counts.items()}

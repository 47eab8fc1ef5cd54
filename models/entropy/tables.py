"""Probability tables as integers [format].

They are made once, when a model is exported, and stored with its weights. Computing them with exp()
at load would tie the stream to a machine's maths library; integers do not.

A table over symbols 0..n-1 is n counts that sum to 2**24. Laplace table i (1..63) covers residuals
-K..K as symbols 0..2K and ends with one escape symbol for everything beyond. Table 0 means "surely
zero" and has no symbols: such elements are not coded at all.

A trained model's Laplace tables have the frequencies that were seen under them
(`models.training.tables`), which are near the Laplacian's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOTAL = 1 << 24  # what the counts of a table sum to: constriction's fixed-point precision
LAPLACE_TABLES = 64
SMALLEST_SCALE = 0.045  # Laplace scale b of table 1, in quantiser steps; below, P(nonzero) < 1e-5
LARGEST_SCALE = 32.0  # of table 63; those between are spaced logarithmically
LARGEST_SUPPORT = 255  # K of the widest table
ESCAPE_BITS = 16  # of an escaped residual: sign and distance beyond K, uniform
LARGEST_RESIDUAL = (1 << (ESCAPE_BITS - 1)) - 1
Z_LIMIT = 63  # largest magnitude of a hyper-latent; each is clamped to the table of its channel
SMALLEST_Z_PROBABILITY = 1e-6  # that a value needs for a place in its table: rarer ones are clamped

Counts = NDArray[np.int32]


def integer_counts(probabilities: NDArray[np.float64]) -> Counts:
    """Round `probabilities` (n,), not all zero, to counts >= 1 that sum to 2**24.

    They need not sum to 1. The remainder of rounding goes to the likeliest symbol.
    """
    share = probabilities / probabilities.sum()
    counts: Counts = np.floor(share * (TOTAL - len(share))).astype(np.int32) + 1
    counts[share.argmax()] += TOTAL - counts.sum()
    return counts


def laplace_scales() -> NDArray[np.float64]:
    """Compute the Laplace scale b of every table (64,), in quantiser steps.

    Table 0's is a bound, one step of the spacing below table 1's.
    """
    step = math.log(LARGEST_SCALE / SMALLEST_SCALE) / (LAPLACE_TABLES - 2)
    scales: NDArray[np.float64] = SMALLEST_SCALE * np.exp(step * np.arange(-1, LAPLACE_TABLES - 1))
    return scales


def index_thresholds() -> NDArray[np.float64]:
    """Compute the scales at which the table index rises by one (63,).

    A scale between thresholds i-1 and i takes table i.
    """
    scales = laplace_scales()
    thresholds: NDArray[np.float64] = np.sqrt(scales[1:] * scales[:-1])
    return thresholds


def _laplace_table(scale: float) -> Counts:
    support = min(LARGEST_SUPPORT, max(1, math.ceil(scale * 12)))  # P(escape) <= exp(-12) unless K is capped
    k = np.arange(1, support + 1)
    tail = 0.5 * np.exp(-(k - 0.5) / scale) * -np.expm1(-1 / scale)
    centre = -np.expm1(-0.5 / scale)
    escape = np.exp(-(support + 0.5) / scale)
    return integer_counts(np.concatenate([tail[::-1], [centre], tail, [escape]]))


def laplace_tables() -> tuple[Counts, ...]:
    """Make the counts of every Laplace table; table 0's are empty."""
    return (np.zeros(0, np.int32), *(_laplace_table(scale) for scale in laplace_scales()[1:]))


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """All tables of a model.

    Attributes:
        laplace: counts of every Laplace table, the first empty; table i has 2 K_i + 2 symbols.
        z: counts by channel of z and context (`models.entropy.context_model.hyper_contexts`); those
            of a channel are equally long.
        z_low: value of symbol 0 of each channel of z (C,).
        z_centre: value that each channel's contexts are centred on (C,).
    """

    laplace: tuple[Counts, ...]
    z: tuple[tuple[Counts, ...], ...]
    z_low: NDArray[np.int32]
    z_centre: NDArray[np.int32]

    @classmethod
    def make(cls, z_probabilities: NDArray[np.float64], z_centre: NDArray[np.int32]) -> Tables:
        """Make Laplacian tables for the residuals, and tables for z of a given prior.

        Args:
            z_probabilities: of -Z_LIMIT..Z_LIMIT, by channel and context:
                (C, contexts, 2 Z_LIMIT + 1).
            z_centre: value that each channel's contexts are centred on (C,).
        """
        z: list[tuple[Counts, ...]] = []
        low: list[int] = []
        for rows in z_probabilities:
            likely = np.flatnonzero(rows.max(0) >= SMALLEST_Z_PROBABILITY)
            first = min(likely[0], Z_LIMIT - 1)
            last = max(likely[-1], Z_LIMIT + 1)
            z.append(tuple(integer_counts(row[first : last + 1]) for row in rows))
            low.append(first - Z_LIMIT)
        return cls(laplace_tables(), tuple(z), np.array(low, np.int32), z_centre.astype(np.int32))

    @property
    def support(self) -> NDArray[np.int32]:
        """K of every Laplace table (64,); 0 for table 0."""
        return np.array([max(0, (len(counts) - 2) // 2) for counts in self.laplace], np.int32)

    @property
    def z_high(self) -> NDArray[np.int32]:
        """Value of the last symbol of each channel of z (C,)."""
        return self.z_low + np.array([len(contexts[0]) - 1 for contexts in self.z], np.int32)

    def laplace_bits(self) -> NDArray[np.float32]:
        """Compute the bits of a residual by table and magnitude: (64, LARGEST_SUPPORT + 2).

        The last column is for all larger magnitudes. Row 0 is 0.
        """
        bits = np.zeros((LAPLACE_TABLES, LARGEST_SUPPORT + 2), np.float32)
        for i, counts in enumerate(self.laplace[1:], 1):
            cost = np.log2(TOTAL) - np.log2(counts)
            support = (len(counts) - 2) // 2
            bits[i, : support + 1] = cost[support : 2 * support + 1]
            bits[i, support + 1 :] = cost[-1] + ESCAPE_BITS
        return bits

    def z_bits(self) -> NDArray[np.float32]:
        """Compute the bits of z by channel, context and symbol: (C, contexts, longest table).

        Shorter tables are padded with 0.
        """
        longest = max(len(contexts[0]) for contexts in self.z)
        bits = np.zeros((len(self.z), len(self.z[0]), longest), np.float32)
        for rows, contexts in zip(bits, self.z, strict=True):
            rows[:, : len(contexts[0])] = np.log2(TOTAL) - np.log2(np.stack(contexts))
        return bits

    def to_arrays(self) -> dict[str, NDArray[np.int32]]:
        """Make the flat arrays of the weights file."""
        return {
            "tables.laplace": np.concatenate(self.laplace),
            "tables.laplace_length": np.array([len(counts) for counts in self.laplace], np.int32),
            "tables.z": np.concatenate([counts for contexts in self.z for counts in contexts]),
            "tables.z_length": np.array([len(contexts[0]) for contexts in self.z], np.int32),
            "tables.z_low": self.z_low,
            "tables.z_centre": self.z_centre,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.int32]]) -> Tables:
        """Undo `to_arrays`. Raises KeyError when an array is missing."""
        laplace = np.split(arrays["tables.laplace"], np.cumsum(arrays["tables.laplace_length"])[:-1])
        lengths = arrays["tables.z_length"]
        contexts = len(arrays["tables.z"]) // int(lengths.sum())
        channels = np.split(arrays["tables.z"], np.cumsum(contexts * lengths)[:-1])
        z = tuple(tuple(counts.reshape(contexts, -1)) for counts in channels)
        return cls(tuple(laplace), z, arrays["tables.z_low"], arrays["tables.z_centre"])

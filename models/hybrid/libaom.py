"""libaom: settings of its AV1 encoder for each metric, its speeds, and an encode through Pillow.

A setting is a point on the hybrid codec's quality axis, 0 to 2079: a level of the quantiser and one
of 32 strengths of the variance-adaptive quantisation (deltaq-mode 6), which fill the gap to the
next level; see `models.rate_control.avif_search`.

Each metric has the tuning that was best by it at 0.1 to 0.5 bits per pixel, in 4:4:4 at speed 6:
tune=psnr for PSNR, and tune=ssim with quantisation matrices for MS-SSIM. At higher rates tune=iq,
libavif's default, overtakes the latter.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import AvifError, OptionError
from models.rate_control import Metric
from models.rate_control.avif_search import LEVELS, STRENGTHS

EFFORT_SPEEDS = (6, 5, 4, 4, 3, 3, 2, 2, 1, 0)  # libaom's speed at effort 0 to 9
ESTIMATE_SPEED = 9  # of encodes that only estimate sizes

# Larger pictures are encoded faster, or they would not be done within a request: the lowest speed
# for pictures of more than so many pixels.
MIN_SPEEDS_BY_PIXELS = ((32_000_000, 9), (8_000_000, 8))

# One encode on one core at speed 0 to 9, with the slower of the two tunings. Measured with libaom
# 3.14 at 0.3 bits per pixel.
SECONDS_PER_MEGAPIXEL = (55.0, 22.0, 18.0, 15.0, 9.0, 6.5, 1.6, 0.9, 0.6, 0.3)

# Sizes at speed 6 over those at ESTIMATE_SPEED.
SIZE_RATIO: dict[Metric, float] = {"psnr": 1.05, "ms-ssim": 1.2}

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Tuning:
    """libaom's options at a range of levels.

    Attributes:
        from_level: the lowest.
        options: beside those that all tunings share.
        min_strength: deltaq-strength at the lowest strength of a level.
        strength_step: deltaq-strength from one strength to the next.
    """

    from_level: int
    options: Options
    min_strength: int
    strength_step: int


# By falling level.
_TUNINGS: dict[Metric, tuple[_Tuning, ...]] = {
    "psnr": (
        _Tuning(9, (("tune", "psnr"),), min_strength=4, strength_step=1),
        # The coarsest quantisers are up to a third of the size apart.
        _Tuning(0, (("tune", "psnr"),), min_strength=4, strength_step=4),
    ),
    "ms-ssim": (
        # From this level on both make streams of equal size and quality.
        _Tuning(14, (("tune", "iq"),), min_strength=110, strength_step=2),
        _Tuning(0, (("tune", "ssim"), ("enable-qm", "1")), min_strength=120, strength_step=2),
    ),
}


def speed_of(effort: int, pixels: int) -> int:
    """libaom's speed at an effort, 0 to 9, for a picture of so many pixels.

    Raises:
        OptionError: there is no such effort.
    """
    if effort not in range(len(EFFORT_SPEEDS)):
        raise OptionError(f"effort is 0 to {len(EFFORT_SPEEDS) - 1}, not {effort}")
    min_speeds = (speed for most_pixels, speed in MIN_SPEEDS_BY_PIXELS if pixels > most_pixels)
    return max([EFFORT_SPEEDS[effort], *min_speeds])


def encode(samples: NDArray[np.uint8], metric: Metric, setting: int, speed: int) -> bytes:
    """Encode an AVIF file in one tile and one thread: 4:0:0 of (H, W), 4:4:4 of (H, W, 3) samples.

    Args:
        samples: grey, or sRGB.
        metric: what to spend the bits for.
        setting: a point on the quality axis.
        speed: libaom's, 0 to 9.

    Raises:
        AvifError: Pillow has no AVIF encoder, or it fails.
    """
    file = io.BytesIO()
    try:
        Image.fromarray(samples).save(
            file,
            "AVIF",
            codec="aom",
            speed=speed,
            subsampling="4:0:0" if samples.ndim == 2 else "4:4:4",
            max_threads=1,
            autotiling=False,
            advanced=_options(metric, setting),
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:  # KeyError: Pillow lacks AVIF
        raise AvifError(f"Pillow cannot write AVIF: {error}") from error
    return file.getvalue()


def _options(metric: Metric, setting: int) -> Options:
    """libaom's options at a setting.

    Level 0 is the coarsest quantiser without variance-adaptive quantisation, which could only
    refine it. Level 1 has the second coarsest, and strengths below the tuning's range. From level 2
    on there is a level for each quantiser.
    """
    level, number = divmod(setting, STRENGTHS)
    tuning = next(tuning for tuning in _TUNINGS[metric] if level >= tuning.from_level)
    adaptive: Options = (("deltaq-mode", "0"),)
    if level:
        strength = tuning.min_strength + tuning.strength_step * number
        if level == 1:
            strength = tuning.min_strength * number // STRENGTHS
        adaptive = (("deltaq-mode", "6"), ("deltaq-strength", str(strength)))
    quantiser = 63 if level == 0 else min(LEVELS - 1 - level, 62)
    return (*tuning.options, ("enable-cdef", "1"), *adaptive, ("cq-level", str(quantiser)))

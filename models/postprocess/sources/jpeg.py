"""JPEG (ITU-T T.81): the quality at which the IJG's encoder has a luma table like the file's."""

from __future__ import annotations

import statistics

from PIL.JpegImagePlugin import JpegImageFile

from models.files import LimitedReader
from models.metrics.jpeg_table import JPEG_LUMA_STEPS

# The IJG's encoder scales the example table by the quality.
_LUMA_MEAN = 57.6
_MAX_ENTRY = 255  # of a baseline table; entries that were clipped to it say nothing of the scale

# Limits on what lies before the pixels: a segment takes four reads. Pillow takes time in the square
# of their number to join those of Exif: 0.7 s on one core for this many of 16 KB, and minutes for
# as many as fit into 64 MiB.
_HEADER_BYTES = 1 << 24
_HEADER_READS = 4_000


def is_jpeg(file: bytes) -> bool:
    """Tell from the first bytes whether this may be a JPEG file."""
    return file[:3] == b"\xff\xd8\xff"


def coarseness(file: bytes) -> float:
    """1 - quality / 100, in [0, 1].

    Raises:
        ValueError: the header is broken, or has no table number 0, which is that of luma.
    """
    table = _luma_table(file)
    pairs = [
        (entry, luma) for entry, luma in zip(table, JPEG_LUMA_STEPS, strict=True) if 1 < entry < _MAX_ENTRY
    ]
    if pairs:
        scale = 100 * (sum(entry for entry, _ in pairs) / sum(step for _, step in pairs))
    else:
        scale = 100 * statistics.fmean(table) / _LUMA_MEAN
    quality = 5000 / scale if scale > 100 else (200 - scale) / 2
    return 1 - min(max(quality, 0.0), 100.0) / 100


def _luma_table(file: bytes) -> list[int]:
    """64 entries in rows, as Pillow has read them since version 8.3."""
    try:
        # Not Image.open, which also looks for further pictures, and warns of large ones.
        with JpegImageFile(LimitedReader(file[:_HEADER_BYTES], _HEADER_READS)) as image:
            return image.quantization[0]
    except MemoryError:
        raise
    except KeyError as error:
        raise ValueError("it has no quantisation table 0") from error
    except Exception as error:  # Pillow may raise anything on hostile bytes
        raise ValueError(f"its header is broken: {error}") from error

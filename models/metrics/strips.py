"""Strips of rows, in which large pictures are compared: memory holds a part of them at a time."""

from __future__ import annotations

STRIP_PIXELS = 1 << 20  # that are compared at a time; a megapixel takes 0.2 GB


def strips(rows: int, columns: int, *, multiple: int = 1, weight: int = 1) -> list[slice]:
    """Cut `rows` into strips of at most STRIP_PIXELS, but at least `multiple` rows each.

    Args:
        rows: to cut.
        columns: of each row.
        multiple: of rows, that all strips but the last have.
        weight: memory that a pixel takes, in that of MS-SSIM.
    """
    height = max(1, STRIP_PIXELS // weight // columns // multiple) * multiple
    return [slice(top, min(top + height, rows)) for top in range(0, rows, height)]

"""AVIF files: their boxes, the AV1 units in them, and the quantiser that these tell."""

"""AVIF files: boxes, open bitstream units, and the quantiser that they tell."""

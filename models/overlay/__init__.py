"""The overlay of a learned stream: cells of 64x64 pixels that AVIF carries, where there is text."""

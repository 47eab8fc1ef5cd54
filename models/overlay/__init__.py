"""The overlay of a learned stream: blocks of pixels that AVIF carries, where there is text."""

"""The hybrid codec: AVIF in the container."""

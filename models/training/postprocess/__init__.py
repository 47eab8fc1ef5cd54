"""Training of the post-processor."""

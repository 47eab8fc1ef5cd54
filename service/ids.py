"""Ids of streams. Apart from the store, which takes longer to import than a header to read."""

from __future__ import annotations

import hashlib


def id_of(stream: bytes) -> str:
    """Return the id of a stream: its SHA-256, 64 hex digits."""
    return hashlib.sha256(stream).hexdigest()

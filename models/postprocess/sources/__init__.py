"""Quality of a lossy image file, by its own account: its codec, and how coarsely that quantised.

Encoders spell quality in as many ways as there are encoders. The quantiser in the file is what the
artefacts come from, whoever wrote it.
"""

from .source import Source, read

__all__ = ["Source", "read"]

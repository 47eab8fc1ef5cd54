"""What a lossy image file says of its own quality: the codec, and how coarsely it quantised. Read, not guessed from pixels.

Encoders spell quality in as many ways as there are encoders; the quantiser in the file is what the artefacts come from, whoever wrote it.
"""

from .source import Source, read

__all__ = ["Source", "read"]

"""The learned codec as a library.

from models import Codec

codec = Codec.load()
stream = codec.compress(image, bpp=0.15)
image = codec.decompress(stream.data)
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.codec import Codec
    from models.errors import CodecError
    from models.picture import Picture
    from models.rate_control import Target
    from models.stream import Stream

__all__ = ["Codec", "CodecError", "Picture", "Stream", "Target"]

# By default torch's threads keep their cores while they wait for each other. As soon as another
# program has one of the cores, a picture takes ten times as long. OpenMP reads this once, when
# torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "Codec": "models.codec",
    "CodecError": "models.errors",
    "Picture": "models.picture",
    "Stream": "models.stream",
    "Target": "models.rate_control",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for. Codec brings torch (seconds, and hundreds of megabytes),
    which entropy workers do without; Picture brings numpy, which reading a header does without.
    """
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

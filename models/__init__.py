"""The learned codec as a library.

from models import Codec

codec = Codec.load("ms-ssim")
stream = codec.compress(image, bpp=0.15)
image = codec.decompress(stream.data)
"""

from typing import TYPE_CHECKING, Any

from models.errors import CodecError
from models.picture import Picture
from models.rate_control import Target
from models.stream import Stream

if TYPE_CHECKING:
    from models.codec import Codec

__all__ = ["Codec", "CodecError", "Picture", "Stream", "Target"]


def __getattr__(name: str) -> Any:
    """Codec, and with it torch (seconds, and hundreds of megabytes), only for those who ask for it:
    entropy workers do not.
    """
    if name == "Codec":
        from models.codec import Codec

        return Codec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

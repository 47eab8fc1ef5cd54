"""The learned codec as a library.

from models import Codec

codec = Codec.load("ms-ssim")
stream = codec.compress(image, bpp=0.15)
image = codec.decompress(stream.data)
"""

from models.codec import Codec, Stream
from models.errors import CodecError
from models.picture import Picture
from models.rate_control import Target

__all__ = ["Codec", "CodecError", "Picture", "Stream", "Target"]

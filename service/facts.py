"""Facts in a stream's header, for the service and the command line alike. Reads no model, and
loads no torch: `ziggurat info` answers at once.
"""

from __future__ import annotations

import builtins

from pydantic import BaseModel, Field

from models import hybrid
from models.bitstream import Bitstream
from models.errors import UnknownModelError
from models.weights import registry

from .ids import id_of


class StreamFacts(BaseModel):
    """The facts in a stream's header."""

    id: str = Field(description="SHA-256 of the stream.")
    bytes: int
    bpp: float = Field(description="Bits per pixel, of the whole stream.")
    width: int
    height: int
    format_version: int
    codec: str = Field(description="learned or hybrid.")
    model_id: str = Field(description="8 hex digits.")
    profile: str | None = Field(
        description="The model of this id, or avif for a hybrid stream; null when it did not come with "
        "this version."
    )
    quality: float = Field(description="0 to 100, on the model's own axis.")
    greyscale: bool
    postprocess: bool = Field(description="Whether post-processing is recommended.")
    z_bytes: int = Field(description="0 in a hybrid stream.")
    y_bytes: int = Field(description="Of a hybrid stream, the AV1 frame.")
    alpha_bytes: int | None = Field(description="null without an alpha plane.")
    metadata_bytes: int | None = Field(description="EXIF and XMP, compressed; null without any.")
    overlay_bytes: int | None = Field(description="Text that AVIF carries; null without any.")

    @classmethod
    def of(cls, stream: builtins.bytes) -> StreamFacts:
        """Read a stream's header.

        Raises:
            BitstreamError: the bytes are no sound stream.
        """
        header = Bitstream.parse(stream)
        model_id = header.model_id.hex()
        return cls(
            id=id_of(stream),
            bytes=len(stream),
            bpp=round(8 * len(stream) / (header.width * header.height), 6),
            width=header.width,
            height=header.height,
            format_version=header.version,
            codec=header.codec.name.lower(),
            model_id=model_id,
            profile=_profile(model_id),
            quality=round(header.position.quality, 3),
            greyscale=header.greyscale,
            postprocess=header.postprocess,
            z_bytes=len(header.z),
            y_bytes=len(header.y),
            alpha_bytes=None if header.alpha is None else len(header.alpha),
            metadata_bytes=None if header.metadata is None else len(header.metadata),
            overlay_bytes=None if header.overlay is None else len(header.overlay),
        )


def _profile(model_id: str) -> str | None:
    """Name the codec with this model id; None when it did not come with this version."""
    if model_id == hybrid.MODEL_ID:
        return hybrid.NAME
    try:
        return registry.name_of(model_id)
    except UnknownModelError:
        return None

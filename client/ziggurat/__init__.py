"""Ziggurat for other people's programs: a client of the service, and .zgt files for Pillow.

import ziggurat

client = ziggurat.Client("http://localhost:8000")
compressed = client.compress("photo.jpg", bpp=0.15)
compressed.save("photo.zgt")
client.decompress("photo.zgt").save("photo.png")

`import ziggurat.pillow` teaches Pillow to open and save .zgt files.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ziggurat.version import VERSION as __version__

if TYPE_CHECKING:
    from ziggurat.async_client import AsyncChunks, AsyncClient
    from ziggurat.bodies import Source
    from ziggurat.client import Chunks, Client
    from ziggurat.errors import ServiceError, ZigguratError
    from ziggurat.header import StreamInfo, inspect
    from ziggurat.results import (
        Abilities,
        Album,
        AlbumStream,
        Compressed,
        Enhanced,
        ImageWarning,
        Limits,
        Link,
        LoadedModel,
        Model,
        PictureFile,
        Scores,
        ServiceInfo,
    )


__all__ = [
    "Abilities",
    "Album",
    "AlbumStream",
    "AsyncChunks",
    "AsyncClient",
    "Chunks",
    "Client",
    "Compressed",
    "Enhanced",
    "ImageWarning",
    "Limits",
    "Link",
    "LoadedModel",
    "Model",
    "PictureFile",
    "Scores",
    "ServiceError",
    "ServiceInfo",
    "Source",
    "StreamInfo",
    "ZigguratError",
    "__version__",
    "inspect",
]

_HOMES = {
    "AsyncChunks": "async_client",
    "AsyncClient": "async_client",
    "Chunks": "client",
    "Client": "client",
    "ServiceError": "errors",
    "Source": "bodies",
    "StreamInfo": "header",
    "ZigguratError": "errors",
    "inspect": "header",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: reading a header takes no HTTP client."""
    if name in __all__:
        return getattr(import_module(f"ziggurat.{_HOMES.get(name, 'results')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Who decodes and encodes for Pillow: the codec where it is installed, else a service.

This is the only module that imports the codec (`models`), and only when a pixel is needed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from PIL import Image

from ziggurat import errors
from ziggurat.conversation import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from models.codec import Codec

# Anybody may have a package `models`. This one has these, and is not imported to find out.
_PARTS_OF_THE_CODEC = ("codec.py", "bitstream", "weights")
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Options:
    """Choice of who decodes and encodes pixels; `ziggurat.pillow.register_opener` explains them."""

    url: str | None = None
    api_key: str | None = None
    timeout: float | None = TIMEOUT_SECONDS
    device: str = "cpu"
    postprocess: Literal["auto", "on", "off"] = "auto"


class Backend(Protocol):
    """Decodes and encodes; raises `ZigguratError`s."""

    def decompress(self, stream: bytes) -> Image.Image:
        """Decode a stream."""

    def compress(self, image: Image.Image, *, profile: str | None, **settings: Any) -> tuple[bytes, bool]:
        """Encode an image of mode L, LA, RGB or RGBA, and say if the target is met.

        `settings` are those of `Client.compress`.
        """


def backend(options: Options) -> Backend:
    """Choose who does the work: the service of `options`, the codec, or the environment's service.

    Raises:
        ImportError: there is none of them. Its text names the ways.
    """
    if options.url is not None:
        return _Service(options)
    missing: ImportError | None = None
    if _codec_is_installed():
        try:
            return _Installed(options)
        except ImportError as error:  # torch, for example
            missing = error
    if os.environ.get("ZIGGURAT_URL"):
        return _Service(options)
    raise ImportError(
        "the pixels of a .zgt file need Ziggurat's codec (`pip install .` in its repository) or a service "
        f"(ZIGGURAT_URL=http://localhost:8000){f'; the codec lacks something: {missing}' if missing else ''}"
    ) from missing


class _Installed:
    """The codec in this process."""

    def __init__(self, options: Options) -> None:
        from models.codec import Codec  # an ImportError belongs here

        del Codec
        self._options = options

    def decompress(self, stream: bytes) -> Image.Image:
        from models.bitstream import Bitstream, CodecKind
        from models.weights import registry

        with _like_the_service():
            header = Bitstream.parse(stream)
            # A hybrid stream needs no model of its own; any codec reads it.
            hybrid = header.codec is CodecKind.HYBRID
            name = registry.available()[0] if hybrid else registry.name_of(header.model_id.hex())
            codec = _load(name, self._options.device)
            return codec.decompress(stream, postprocess=self._options.postprocess)

    def compress(self, image: Image.Image, *, profile: str | None, **settings: Any) -> tuple[bytes, bool]:
        from models.weights import registry

        if profile is not None and profile not in registry.available():
            raise errors.UnknownProfileError(f"profile is one of {', '.join(registry.available())}")
        with _like_the_service():
            stream = _load(profile or registry.DEFAULT, self._options.device).compress(image, **settings)
            return stream.data, stream.target_met


class _Service:
    """A service elsewhere. Connections last for one picture, so that none is left open, or shared
    with a forked process.
    """

    def __init__(self, options: Options) -> None:
        from ziggurat.client import Client

        self._connect = partial(Client, options.url, options.api_key, timeout=options.timeout)
        self._postprocess = options.postprocess

    def decompress(self, stream: bytes) -> Image.Image:
        with self._connect() as client:
            return client.decompress(stream, postprocess=self._postprocess).image()

    def compress(self, image: Image.Image, *, profile: str | None, **settings: Any) -> tuple[bytes, bool]:
        with self._connect() as client:
            compressed = client.compress(image, profile=profile, **settings)
            return compressed.data, compressed.target_met


def _codec_is_installed() -> bool:
    try:
        spec = find_spec("models")
    except ValueError:  # a module that somebody made up
        return False
    folders = (spec and spec.submodule_search_locations) or ()
    return any(all((Path(folder) / part).exists() for part in _PARTS_OF_THE_CODEC) for folder in folders)


def _load(name: str, device: str) -> Codec:
    with _loading:  # once, however many threads ask
        return _loaded(name, device)


@cache
def _loaded(name: str, device: str) -> Codec:
    from models.codec import Codec

    return Codec.load(name, device=device)


@contextmanager
def _like_the_service() -> Iterator[None]:
    """Turn the codec's errors into those of the service, which have the same names."""
    from models.errors import CodecError

    try:
        yield
    except CodecError as error:
        fallback = errors.InvalidRequestError if isinstance(error, ValueError) else errors.ZigguratError
        raise getattr(errors, type(error).__name__, fallback)(str(error)) from error

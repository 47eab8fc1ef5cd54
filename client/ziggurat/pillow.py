"""The .zgt format for Pillow: importing this registers it.

import ziggurat.pillow
from PIL import Image

image = Image.open("photo.zgt")  # reads the header
image.load()  # decodes
image.save("smaller.zgt", bpp=0.1)

Decoding and encoding are done by the codec where it is installed (the distribution `ziggurat`,
with torch), else by the service that `ZIGGURAT_URL` names. Neither is looked for before a pixel is
needed.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import IO, Any, Literal

from PIL import Image, ImageFile

from ziggurat import metadata
from ziggurat.backends import Options, backend
from ziggurat.bodies import STREAM_TYPE
from ziggurat.conversation import TIMEOUT_SECONDS
from ziggurat.errors import BitstreamError, DamagedAnswerError, RequestError, TargetError, ZigguratError
from ziggurat.header import MAGIC, MAX_HEADER_BYTES, Header, check_version, checked
from ziggurat.pixels import plain, upright_exif

__all__ = ["register_opener"]

FORMAT = "ZGT"
DEFAULT_QUALITY = 50.0  # of `save` without a target
_MINIMA = ("min_psnr", "min_ms_ssim", "min_ssimulacra2")
_TARGETS = ("bpp", "max_bytes", "quality", *_MINIMA)
_options = Options()


def register_opener(
    *,
    url: str | None = None,
    api_key: str | None = None,
    timeout: float | None = TIMEOUT_SECONDS,
    device: str = "cpu",
    postprocess: Literal["auto", "on", "off"] = "auto",
) -> None:
    """Register the format with Pillow. Importing this module has done that, with the defaults.

    Args:
        url: of a service, which then does the work even where the codec is installed.
        api_key: for that service. Without `url` both come from `ZIGGURAT_URL` and
            `ZIGGURAT_API_KEY`.
        timeout: seconds for a picture at a service; None for any number.
        device: of the codec, where it is installed: "cpu", "cuda", "cuda:1".
        postprocess: take out what compressing left: "auto" as the stream recommends, "on" in any
            case, "off" not at all.
    """
    global _options
    _options = Options(url, api_key, timeout, device, postprocess)
    Image.register_open(FORMAT, ZigguratImageFile, _accept)
    Image.register_decoder(FORMAT, ZigguratDecoder)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, ".zgt")
    Image.register_mime(FORMAT, STREAM_TYPE)


class ZigguratImageFile(ImageFile.ImageFile):
    """A .zgt file, of mode L, LA, RGB or RGBA.

    `info` has what its header says: `codec`, `model_id`, `quality`, `postprocess`; and `exif` and
    `xmp` where the stream has them.
    """

    format = FORMAT
    format_description = "Ziggurat learned image compression"

    def _open(self) -> None:
        assert self.fp is not None
        try:
            header = Header.read(self.fp.read(MAX_HEADER_BYTES))
        except BitstreamError as error:
            raise SyntaxError(str(error)) from error  # "not mine", in Pillow's language
        self._size = (header.width, header.height)
        self._mode = header.mode
        for name in ("codec", "model_id", "quality", "postprocess"):
            self.info[name] = getattr(header, name)
        if header.metadata_bytes:
            self.fp.seek(header.metadata_at)
            with suppress(BitstreamError):  # as loading will say
                section = self.fp.read(min(header.metadata_bytes, metadata.MAX_SECTION_BYTES + 1))
                self.info.update(metadata.read(section))
        self.tile = [ImageFile._Tile(FORMAT, (0, 0, *self._size), 0, None)]

    def verify(self) -> None:
        """Check the length and the checksum, without decoding. Raises OSError."""
        assert self.fp is not None
        self.fp.seek(0)
        try:
            checked(self.fp.read())
        except BitstreamError as error:
            raise OSError(str(error)) from error
        super().verify()


class ZigguratDecoder(ImageFile.PyDecoder):
    """Decodes a whole file, when Pillow needs the pixels."""

    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:
        """Read the file to its end and set the image.

        Raises:
            OSError: the stream is damaged, its model not at hand, or the service failed.
            ImportError: there is neither a codec nor a service.
        """
        assert self.fd is not None
        stream = self.fd.read()
        try:
            header = checked(stream)
            image = backend(_options).decompress(stream)
            if image.size != (header.width, header.height):
                raise DamagedAnswerError(f"the picture has {image.size} pixels, unlike its header")
        except ZigguratError as error:
            raise OSError(str(error)) from error
        pixels = image if image.mode == header.mode else image.convert(header.mode)
        self.set_as_raw(pixels.tobytes())
        return -1, 0  # all was read, and without an error


def _accept(beginning: bytes) -> bool | str:
    """Say whether a file is one of these; Pillow warns with the text of a version not read here."""
    if not beginning.startswith(MAGIC):
        return False
    try:
        check_version(beginning)
    except BitstreamError as error:
        return str(error)
    return True


def _save(image: Image.Image, file: IO[bytes], filename: str | bytes) -> None:
    """Encode, for `Image.save`.

    Options are those of `Client.compress`, without `report`: one of `bpp`, `max_bytes` and
    `quality`, or minima (of none, `quality=50`), `profile`, `codec`, `effort`, `strict`. `exif` and
    `xmp` are written where they are given, as with Pillow's own formats: without coordinates,
    unless `metadata="keep-with-gps"`. As there, too, unknown options are passed over.

    Raises:
        ValueError: an option has no such value, or the stream would be over the budget or short of
            the minima, and `strict` forbids that.
        OSError: it could not be encoded.
        ImportError: there is neither a codec nor a service.
    """
    given = {name: value for name, value in image.encoderinfo.items() if value is not None}
    settings = {name: given[name] for name in (*_TARGETS, "codec", "effort") if name in given}
    if not settings.keys() & set(_TARGETS):
        settings["quality"] = DEFAULT_QUALITY
    upright = plain(image)
    if "exif" in given or "xmp" in given:
        upright = upright.copy()
        exif, xmp = upright_exif(given.get("exif")), given.get("xmp")
        upright.info = {name: told for name, told in (("exif", exif), ("xmp", xmp)) if told}
        settings["metadata"] = "keep-with-gps" if given.get("metadata") == "keep-with-gps" else "keep"
    try:
        stream, met = backend(_options).compress(upright, profile=given.get("profile"), **settings)
    except (TargetError, RequestError) as error:
        raise ValueError(str(error)) from error
    except ZigguratError as error:
        raise OSError(str(error)) from error
    budget = int(settings.get("max_bytes") or float(settings.get("bpp", 0)) * image.width * image.height / 8)
    told = ""
    if 0 < budget < len(stream):
        told = f"the smallest stream has {len(stream)} bytes, and the budget is {budget}"
    elif settings.keys() & set(_MINIMA) and not met:
        told = "no stream reaches the minima; this is the nearest"
    if told:
        if given.get("strict"):
            raise ValueError(told)
        warnings.warn(told, stacklevel=3)  # `save` was called there
    file.write(stream)


register_opener()

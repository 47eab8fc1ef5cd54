"""Results of calls: what came back, with the facts about it."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePath
from typing import Any, TypeVar

from PIL import Image

from ziggurat.conversation import Answer
from ziggurat.errors import DamagedAnswerError, ZigguratError
from ziggurat.header import Header, StreamInfo

T = TypeVar("T")


class ImageWarning(UserWarning):
    """Something is wrong with an image file, although the service could read it."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of both codecs within one budget, of `codec="auto"`.

    Attributes:
        metric: "ms-ssim" (0 to 1) or "psnr" (dB).
        learned, hybrid: infinite where the picture came back exactly.
    """

    metric: str
    learned: float
    hybrid: float


@dataclass(frozen=True, slots=True)
class Compressed:
    """A stream, and how it came out.

    Attributes:
        data: the stream, the content of a .zgt file.
        id: its SHA-256, under which the service has stored it.
        url: path of the picture on the service.
        codec: "learned" or "hybrid".
        profile: name of the model.
        model_id: of what decodes the stream, 8 hex digits.
        width, height: of the picture, in pixels.
        quality: 0 to 100, on the model's own axis.
        target_bpp: the budget in bits per pixel; None when a quality was asked for.
        target_met: within the budget and at most 1 % (or 8 bytes) under it, or a quality. False
            means that the budget is out of the model's reach: the stream is the smallest or the
            largest there is. With minima: the decoded picture reaches all, within the budget if
            there is one; otherwise the stream is the nearest to them.
        larger_than_source: the stream has more bytes than the file that was sent.
        effort: what was done, 0 to 9.
        psnr: dB, infinite for an exact picture; None when not asked for.
        ms_ssim: 0 to 1; None when not asked for.
        ssimulacra2: at most 100; None when not asked for.
        auto: with `codec="auto"`, how the two compared.
        metadata_bytes: length of EXIF and XMP in the stream, compressed; None without any.
        dropped: names of the image's metadata that the stream does not have: "exif", "icc", "xmp",
            "iptc"; of what was kept "gps", "maker-note", "thumbnail", "extended-xmp".
        warnings: what is wrong with the image file, although it was read.
        timings: milliseconds by stage, where the service tells.
        request_id: as in the service's log.
    """

    data: bytes = field(repr=False)
    id: str
    url: str
    codec: str
    profile: str
    model_id: str
    width: int
    height: int
    quality: float
    target_bpp: float | None
    target_met: bool
    larger_than_source: bool
    effort: int
    psnr: float | None
    ms_ssim: float | None
    ssimulacra2: float | None
    auto: Scores | None
    metadata_bytes: int | None
    dropped: tuple[str, ...]
    warnings: tuple[str, ...]
    timings: Mapping[str, float] = field(repr=False)
    request_id: str | None = field(repr=False)

    @property
    def bytes(self) -> int:
        """Length of the stream."""
        return len(self.data)

    @property
    def bpp(self) -> float:
        """Bits of the whole stream per pixel."""
        return 8 * len(self.data) / (self.width * self.height)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the stream to a file, which is replaced."""
        Path(path).write_bytes(self.data)


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture that the service made, as a file of the format asked for.

    Attributes:
        data: the file.
        media_type: such as "image/png".
        postprocess: name and id of the post-processor that the picture went through, or "off".
        timings: milliseconds by stage, where the service tells.
        request_id: as in the service's log.
    """

    data: bytes = field(repr=False)
    media_type: str
    postprocess: str
    timings: Mapping[str, float] = field(repr=False)
    request_id: str | None = field(repr=False)

    def image(self) -> Image.Image:
        """The picture as a Pillow image, already read."""
        image = Image.open(io.BytesIO(self.data))
        image.load()
        return image

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file as it came; it is not converted to what the name ends in."""
        Path(path).write_bytes(self.data)


@dataclass(frozen=True, slots=True)
class Enhanced(PictureFile):
    """A picture with its artefacts taken out.

    Attributes:
        source: kind of the file that was sent: "jpeg", "webp" or "avif".
        coarseness: how coarsely it was quantised, 0 to 1.
    """

    source: str
    coarseness: float


@dataclass(frozen=True, slots=True)
class AlbumStream:
    """One stream of an album.

    Attributes:
        data: the stream, the content of a .zgt file; empty where only facts were asked for.
        file: a file name for it, unlike every other of the album.
        id: its SHA-256, under which the service has stored it.
        url: path of the picture on the service.
        width, height: of the picture, in pixels.
        bpp: bits of the stream per pixel.
        quality: 0 to 100, on the model's own axis.
        effort_reached: what was done, 0 to 9.
        psnr: dB; infinite where the picture came back exactly.
        ms_ssim: 0 to 1.
        larger_than_source: the stream has more bytes than the file, or the stored stream, that its
            picture came in.
        metadata_bytes, dropped: as `Compressed` has them.
    """

    data: bytes = field(repr=False)
    file: str
    id: str
    url: str
    width: int
    height: int
    bpp: float
    quality: float
    effort_reached: int
    psnr: float
    ms_ssim: float
    larger_than_source: bool = False
    metadata_bytes: int | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Album:
    """Streams that share one budget, in the order of their images.

    Attributes:
        streams: one for each image.
        profile, model_id: the model.
        metric: what they are best in.
        budget_bytes: of all streams together.
        target_met: within the budget and at most 0.5 % (or 8 bytes) under it; of an album in
            parts, each part within its own. False means that the budget is out of the model's
            reach.
        parts: requests that it took; more than one when the service's limits asked for it.
    """

    streams: tuple[AlbumStream, ...]
    profile: str
    model_id: str
    metric: str
    budget_bytes: int
    target_met: bool
    parts: int = 1

    @property
    def bytes(self) -> int:
        """Length of all streams."""
        return sum(len(stream.data) for stream in self.streams)

    @property
    def pixels(self) -> int:
        """Pixels of all pictures."""
        return sum(stream.width * stream.height for stream in self.streams)

    @property
    def bpp(self) -> float:
        """Bits per pixel of all pictures together."""
        return 8 * self.bytes / self.pixels

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio in dB, of one mean squared error over all pixels."""
        error = sum(
            10 ** (-stream.psnr / 10) * stream.width * stream.height
            for stream in self.streams
            if math.isfinite(stream.psnr)
        )
        return -10 * math.log10(error / self.pixels) if error else math.inf

    @property
    def ms_ssim(self) -> float:
        """Mean of the streams' MS-SSIM, 0 to 1."""
        return sum(stream.ms_ssim for stream in self.streams) / len(self.streams)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the streams into a folder, which is made where it is missing."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for stream in self.streams:
            (target / stream.file).write_bytes(stream.data)


@dataclass(frozen=True, slots=True)
class Link:
    """Addresses of one stream for those without an API key: paths on the service.

    Attributes:
        page_url: of the page that shows the picture.
        picture_url: of the picture.
        stream_url: of the stream.
        expires: second of Unix time in which they end; None where the service has no keys, and they
            do not.
    """

    page_url: str
    picture_url: str
    stream_url: str
    expires: int | None


@dataclass(frozen=True, slots=True)
class Model:
    """A codec or post-processor of the service.

    Attributes:
        name: of a codec, what `profile` takes.
        kind: "codec", "hybrid" or "post-processor".
        model_id: 8 hex digits, as in streams.
        loaded: it is in use.
        default: it is taken when a request names none.
        device: where it runs, when loaded.
        card: how it was trained and what it measures.
    """

    name: str
    kind: str
    model_id: str
    loaded: bool
    default: bool
    device: str | None
    card: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that a service has loaded.

    Attributes:
        name: of a codec, what `profile` takes.
        kind: "codec", "hybrid" or "post-processor".
        model_id: 8 hex digits, as in streams.
        metric: what a codec spends its bits for.
        default: of a codec: it is taken when a request names none.
    """

    name: str
    kind: str
    model_id: str
    metric: str | None
    default: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a request.

    Attributes:
        pixels: of an image or a stream, and of all images of an album sent at once.
        side: of an image, in pixels.
        body_bytes: of a request.
        allocation_images: that may share one budget in a request.
        effort: the highest.
        effort_pixels: of an image that effort is done on.
        seconds: from a request's last byte to its answer.
    """

    pixels: int
    side: int
    body_bytes: int
    allocation_images: int
    effort: int
    effort_pixels: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Abilities:
    """Abilities that depend on how a service was installed and set up.

    Attributes:
        codecs: what `codec` takes.
        measures: what `report` takes, and what may have a minimum.
        reads: names of the image formats that are read.
        writes: what `format` takes.
        enhance: there is a post-processor for other encoders' files.
        delete: streams can be deleted, by a key with that role if there are keys.
        keys: requests need an API key.
    """

    codecs: tuple[str, ...]
    measures: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    enhance: bool
    delete: bool
    keys: bool


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """Facts about a service.

    Attributes:
        version: of the service.
        format_version: of the streams that it writes and reads.
        device: where its networks run.
        models: those loaded.
        limits: of a request.
        can: what can be asked for.
    """

    version: str
    format_version: int
    device: str
    models: tuple[LoadedModel, ...]
    limits: Limits
    can: Abilities


def compressed_in(answer: Answer) -> Compressed:
    """Read the answer of `/compress`: a stream, and facts in the headers."""
    headers = answer.headers
    try:
        header = Header.read(answer.content)
        profile, _, model_id = headers["ziggurat-model"].partition("/")
        return Compressed(
            data=answer.content,
            id=headers["etag"].strip('"'),
            url=headers["location"],
            codec=headers["ziggurat-codec"],
            profile=profile,
            model_id=model_id,
            width=header.width,
            height=header.height,
            quality=header.quality,
            target_bpp=_number(headers.get("ziggurat-target-bpp")),
            target_met=headers["ziggurat-target-met"] == "true",
            larger_than_source=headers.get("ziggurat-larger-than-source") == "true",
            effort=int(headers["ziggurat-effort"]),
            psnr=_number(headers.get("ziggurat-psnr")),
            ms_ssim=_number(headers.get("ziggurat-ms-ssim")),
            ssimulacra2=_number(headers.get("ziggurat-ssimulacra2")),
            auto=_scores(headers.get("ziggurat-auto")),
            metadata_bytes=header.metadata_bytes,
            dropped=tuple(headers["ziggurat-dropped"].split(", ")) if "ziggurat-dropped" in headers else (),
            warnings=tuple(headers["ziggurat-warning"].split("; ")) if "ziggurat-warning" in headers else (),
            timings=_timings(headers),
            request_id=headers.get("x-request-id"),
        )
    except (KeyError, ValueError, ZigguratError) as error:
        raise DamagedAnswerError(f"the answer is not that of /compress: {error}") from error


def picture_in(answer: Answer) -> PictureFile:
    """Read the answer of `/decompress`."""
    return PictureFile(**_picture(answer))


def enhanced_in(answer: Answer) -> Enhanced:
    """Read the answer of `/enhance`."""
    try:
        source, _, coarseness = answer.headers["ziggurat-source"].partition("; coarseness=")
        picture = _picture(answer) | {"postprocess": answer.headers["ziggurat-model"]}
        return Enhanced(**picture, source=source, coarseness=float(coarseness))
    except (KeyError, ValueError) as error:
        raise DamagedAnswerError(f"the answer is not that of /enhance: {error}") from error


def album_in(answer: Answer) -> Album:
    """Read the answer of `/allocate`, an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            facts = Answer(answer.status, {}, archive.read("allocation.json")).json()
            streams = tuple(
                _known(
                    AlbumStream,
                    share
                    | {"data": archive.read(share["file"])}
                    | {"psnr": math.inf if share["psnr"] is None else share["psnr"]}
                    | {"dropped": tuple(share.get("dropped", ()))},
                )
                for share in facts["streams"]
            )
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DamagedAnswerError(f"the answer is not that of /allocate: {error}") from error
    return _known(Album, facts | {"streams": streams})


def info_in(answer: Answer) -> StreamInfo:
    """Read the answer of `/bitstreams/ID/info`."""
    return _known(StreamInfo, answer.json())


def link_in(answer: Answer) -> Link:
    """Read the answer of `/bitstreams/ID/links`."""
    return _known(Link, answer.json())


def models_in(answer: Answer) -> tuple[Model, ...]:
    """Read the answer of `/models`."""
    return tuple(_known(Model, model) for model in answer.json())


def service_info_in(answer: Answer) -> ServiceInfo:
    """Read the answer of `/info`."""
    facts = answer.json()
    try:
        can = {
            name: tuple(value) if isinstance(value, list) else value for name, value in facts["can"].items()
        }
        parts = {
            "models": tuple(_known(LoadedModel, model) for model in facts["models"]),
            "limits": _known(Limits, facts["limits"]),
            "can": _known(Abilities, can),
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedAnswerError(f"the answer is not that of /info: {error}") from error
    return _known(ServiceInfo, facts | parts)


def joined(parts: Sequence[Album], budget_bytes: int) -> Album:
    """Make one album of its parts; the files' names stay apart."""
    streams = [stream for part in parts for stream in part.streams]
    taken: set[str] = set()
    for index, stream in enumerate(streams):
        name = PurePath(stream.file)
        number = 1
        while (file := name.stem + (f"-{number}" if number > 1 else "") + name.suffix).lower() in taken:
            number += 1
        taken.add(file.lower())
        streams[index] = replace(stream, file=file)
    return replace(
        parts[0],
        streams=tuple(streams),
        budget_bytes=budget_bytes,
        target_met=all(part.target_met for part in parts),
        parts=len(parts),
    )


def _picture(answer: Answer) -> dict[str, Any]:
    media_type = answer.headers.get("content-type", "")
    if not media_type.startswith("image/"):
        raise DamagedAnswerError(f"the answer is no picture, but {media_type or 'of no known type'}")
    return {
        "data": answer.content,
        "media_type": media_type,
        "postprocess": answer.headers.get("ziggurat-postprocess", "off"),
        "timings": _timings(answer.headers),
        "request_id": answer.headers.get("x-request-id"),
    }


def _known(cls: type[T], facts: Any) -> T:
    """Make a result of JSON, passing over what a later service may have added."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    try:
        return cls(**{name: value for name, value in facts.items() if name in names})
    except (TypeError, AttributeError) as error:
        raise DamagedAnswerError(f"the answer has no {cls.__name__} in it: {error}") from error


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _scores(text: str | None) -> Scores | None:
    if text is None:
        return None
    told = dict(part.split("=", 1) for part in text.split(", "))
    return Scores(told["metric"], float(told["learned"]), float(told["hybrid"]))


def _timings(headers: Mapping[str, str]) -> dict[str, float]:
    """Stages and their milliseconds, of a Server-Timing header."""
    timings = {}
    for stage in headers.get("server-timing", "").split(","):
        name, _, duration = stage.strip().partition(";dur=")
        if duration:
            timings[name] = float(duration)
    return timings

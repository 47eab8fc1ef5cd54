"""Operations of the service, each as a conversation.

`Client` and `AsyncClient` have them as methods of the same names and documentation.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial, update_wrapper
from inspect import signature
from typing import Any, Literal, TypeVar

from ziggurat.album import Item, allocate, items_of
from ziggurat.bodies import STREAM_TYPE, Body, Source, body_of
from ziggurat.conversation import Answer, Conversation, Patience, Request, Run, exchange
from ziggurat.errors import BitstreamError, NotStoredError, UnavailableError
from ziggurat.flow import Flow
from ziggurat.header import StreamInfo
from ziggurat.results import (
    Album,
    AlbumStream,
    Compressed,
    Enhanced,
    ImageWarning,
    Link,
    Model,
    PictureFile,
    ServiceInfo,
    compressed_in,
    enhanced_in,
    info_in,
    link_in,
    models_in,
    picture_in,
    service_info_in,
)

Method = TypeVar("Method", bound=Callable[..., Any])
Profile = Literal["visual", "ms-ssim", "psnr"] | str
Codec = Literal["learned", "hybrid", "auto"]
Metric = Literal["ms-ssim", "psnr"]
Measure = Literal["psnr", "ms-ssim", "ssimulacra2"]
Format = Literal["png", "webp", "avif", "jpeg", "jpg"]
Postprocess = Literal["auto", "on", "off"]
Metadata = Literal["none", "keep", "keep-with-gps"]


class Operations:
    """Conversations of one call, whose time begins now."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def compress(
        self,
        image: Source,
        *,
        bpp: float | None = None,
        max_bytes: int | None = None,
        quality: float | None = None,
        min_psnr: float | None = None,
        min_ms_ssim: float | None = None,
        min_ssimulacra2: float | None = None,
        profile: Profile | None = None,
        codec: Codec = "learned",
        report: Measure | Iterable[Measure] = (),
        effort: int = 0,
        strict: bool = False,
        metadata: Metadata = "none",
    ) -> Conversation[Compressed]:
        """Compress an image to one of three targets, or to the smallest stream that is good enough.

        The stream is stored, too.

        Args:
            image: the path of a file, its bytes, an open file, a Pillow image, or an array
                (H, W, 3) of uint8.
            bpp: budget in bits of the whole stream per pixel, above 0, up to 32.
            max_bytes: budget in bytes of the whole stream.
            quality: 0 to 100, on the model's own axis, instead of a budget.
            min_psnr: dB that the decoded picture must reach. Minima stand alone or beside a budget,
                which is kept; of several all must hold.
            min_ms_ssim: MS-SSIM that it must reach, 0 to 1.
            min_ssimulacra2: SSIMULACRA2 that it must reach, 0 to 100.
            profile: the model, "visual" (for the eye), "ms-ssim" or "psnr"; the service's if None.
            codec: "learned"; "hybrid", tuned AVIF; or "auto", as suits the picture: text is carried
                by AVIF.
            report: measure the decoded picture by these: "psnr", "ms-ssim", "ssimulacra2". What has
                a minimum is measured in any case.
            effort: 0 to 9; more makes a better picture of the same bytes.
            strict: raise `TargetMissedError` instead of taking a stream over the budget, or short
                of the minima.
            metadata: what to keep of EXIF and XMP, within the budget: "none"; "keep", all but
                coordinates; or "keep-with-gps". Thumbnails and maker notes are never kept.
                `Compressed.dropped` names what was not.

        Raises:
            ZigguratError: what the service answered, or that it did not; a class per cause.

        Warns:
            ImageWarning: the file was read, and something is wrong with it.
        """
        answer = yield from self._send(
            "compress",
            _parameters(
                bpp=bpp,
                max_bytes=max_bytes,
                quality=quality,
                min_psnr=min_psnr,
                min_ms_ssim=min_ms_ssim,
                min_ssimulacra2=min_ssimulacra2,
                profile=profile,
                codec=codec,
                report=",".join([report] if isinstance(report, str) else report) or None,
                effort=effort,
                strict=strict,
                metadata=_unless_none(metadata),
            ),
            accept=STREAM_TYPE,
            body=(yield from _body(image, metadata != "none")),
        )
        compressed = compressed_in(answer)
        for text in compressed.warnings:  # the caller is behind two frames of a client
            warnings.warn(text, ImageWarning, stacklevel=4)
        return compressed

    def decompress(
        self,
        stream: Source | Compressed | AlbumStream,
        *,
        format: Format = "png",
        postprocess: Postprocess = "auto",
    ) -> Conversation[PictureFile]:
        """Decompress a stream. The service stores nothing.

        Args:
            stream: the path of a file, its bytes, an open file, or what `compress` or `allocate`
                gave.
            format: of the picture file. PNG is exact; the others are near-transparent.
            postprocess: "auto" as the stream recommends, "on" in any case, "off" not at all.

        Raises:
            ZigguratError: what the service answered, or that it did not; a class per cause.
        """
        source = stream.data if isinstance(stream, Compressed | AlbumStream) else stream
        parameters = _parameters(format=format, postprocess=postprocess)
        body = yield from _body(source)
        return picture_in((yield from self._send("decompress", parameters, body=body)))

    def decompress_stored(
        self, stream_id: str, *, format: Format = "png", postprocess: Postprocess = "auto"
    ) -> Conversation[PictureFile]:
        """Decompress a stream that the service has stored. As `decompress` otherwise."""
        path = f"decompress/{_id(stream_id)}"
        parameters = _parameters(format=format, postprocess=postprocess)
        return picture_in((yield from self._send(path, parameters, method="GET")))

    def enhance(self, image: Source, *, format: Format = "png") -> Conversation[Enhanced]:
        """Take the artefacts out of a JPEG, WebP or AVIF file that another encoder made.

        Args:
            image: the path of the file, its bytes, or the open file. Not a Pillow image: how coarse
                the file is stands in the file.
            format: of the picture file that comes back.

        Raises:
            SourceError: there is nothing to gain, or it is another kind of file.
            ZigguratError: what else the service answered, or that it did not.
        """
        body = yield from _body(image)
        return enhanced_in((yield from self._send("enhance", _parameters(format=format), body=body)))

    def allocate(
        self,
        images: Iterable[Source],
        *,
        budget_bpp: float | None = None,
        budget_bytes: int | None = None,
        metric: Metric | None = None,
        profile: Profile | None = None,
        effort: int = 0,
        strict: bool = False,
        metadata: Metadata = "none",
    ) -> Conversation[Album]:
        """Compress many images to one budget: each gets the share that serves them all best.

        An album that is more than the service takes at once is sent in parts. The budget holds all
        the same; each part gets its share by pixels.

        Args:
            images: each as `compress` takes it.
            budget_bpp: budget in bits per pixel of all images together, above 0, up to 32.
            budget_bytes: budget in bytes of all streams. Exactly one of the two must be given.
            metric: what to be best in; the model's own if None.
            profile, effort, strict, metadata: as `compress` has them.

        Raises:
            ZigguratError: what the service answered, or that it did not; a class per cause.
        """
        items = yield Run(partial(items_of, list(images), metadata != "none"))
        parameters = _parameters(
            metric=metric,
            profile=profile,
            effort=effort,
            strict=strict,
            metadata=_unless_none(metadata),
        )
        return (yield from allocate(items, budget_bpp, budget_bytes, parameters, self._patience))

    def allocate_stored(
        self,
        stream_ids: Iterable[str],
        *,
        budget_bpp: float | None = None,
        budget_bytes: int | None = None,
        metric: Metric | None = None,
        profile: Profile | None = None,
        effort: int = 0,
        strict: bool = False,
        metadata: Metadata = "none",
    ) -> Conversation[Album]:
        """Compress the pictures of stored streams anew, to one budget. As `allocate` otherwise."""
        items = [Item(_id(stream_id)) for stream_id in stream_ids]
        parameters = _parameters(
            metric=metric,
            profile=profile,
            effort=effort,
            strict=strict,
            metadata=_unless_none(metadata),
        )
        return (yield from allocate(items, budget_bpp, budget_bytes, parameters, self._patience))

    def stream(self, stream_id: str) -> Conversation[bytes]:
        """Fetch a stored stream, a .zgt file's content. Raises `NotStoredError`, and others."""
        answer = yield from self._send(f"bitstreams/{_id(stream_id)}", method="GET")
        return answer.content

    def stream_chunks(self, stream_id: str) -> Flow:
        """Fetch a stored stream in chunks, to iterate over or to `save`, and never hold it.

        After a lost connection it goes on where it was. Its id tells at the end that it is right.
        Raises, while it is taken, `NotStoredError`, and others.
        """
        request = Request("GET", f"bitstreams/{_id(stream_id)}")
        return Flow(lambda: _prepared(request), self._patience, stream_id)

    def decompress_chunks(
        self,
        stream: Source | Compressed | AlbumStream,
        *,
        format: Format = "png",
        postprocess: Postprocess = "auto",
    ) -> Flow:
        """Decompress a stream, and take the picture's file in chunks. As `decompress` otherwise.

        After a lost connection it is begun again only where no chunk has come.
        """
        source = stream.data if isinstance(stream, Compressed | AlbumStream) else stream
        request = Request("POST", "decompress", _parameters(format=format, postprocess=postprocess))
        return Flow(lambda: _prepared(request, source), self._patience)

    def decompress_stored_chunks(
        self, stream_id: str, *, format: Format = "png", postprocess: Postprocess = "auto"
    ) -> Flow:
        """Decompress a stored stream, and take the picture's file in chunks.

        As `decompress_chunks` otherwise.
        """
        parameters = _parameters(format=format, postprocess=postprocess)
        request = Request("GET", f"decompress/{_id(stream_id)}", parameters)
        return Flow(lambda: _prepared(request), self._patience)

    def info(self, stream_id: str) -> Conversation[StreamInfo]:
        """Fetch the facts about a stored stream. `ziggurat.inspect` has those of one at hand.

        Raises `NotStoredError`, and others.
        """
        return info_in((yield from self._send(f"bitstreams/{_id(stream_id)}/info", method="GET")))

    def exists(self, stream_id: str) -> Conversation[bool]:
        """Say whether the service has a stream."""
        try:
            yield from self.info(stream_id)
        except NotStoredError:
            return False
        except BitstreamError:  # of another version
            return True
        return True

    def link(self, stream_id: str, *, seconds: int = 604_800) -> Conversation[Link]:
        """Make addresses of a stored stream for those without an API key, good for so many seconds.

        Raises:
            LinksOffError: the service has API keys, and no secret to sign links with.
            NotStoredError: it is not there.
        """
        path = f"bitstreams/{_id(stream_id)}/links"
        return link_in((yield from self._send(path, _parameters(seconds=seconds))))

    def delete(self, stream_id: str) -> Conversation[None]:
        """Forget a stored stream. Copies in caches live on.

        Raises:
            ForbiddenError: the service does not let this key, or anybody, delete.
            NotStoredError: it is not there.
        """
        yield from self._send(f"bitstreams/{_id(stream_id)}", method="DELETE")

    def service_info(self) -> Conversation[ServiceInfo]:
        """Ask what the service is: its version, models and limits, and what it can do."""
        return service_info_in((yield from self._send("info", method="GET")))

    def models(self) -> Conversation[tuple[Model, ...]]:
        """List the codecs and post-processors of the service."""
        return models_in((yield from self._send("models", method="GET")))

    def ready(self) -> Conversation[bool]:
        """Say whether the service takes requests now. Raises `ServiceError` where none answers."""
        try:
            yield from self._send("readyz", method="GET", patience=Patience(self._patience.left(), 0))
        except UnavailableError:
            return False
        return True

    def _send(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        accept: str = "*/*",
        body: Body | None = None,
        patience: Patience | None = None,
    ) -> Conversation[Answer]:
        request = Request(method, path, parameters or {}, accept, body)
        return (yield from exchange(request, patience or self._patience))


def document(method: Method, operation: Callable[..., Any]) -> Method:
    """Give a client's method the name, documentation and signature of its operation."""
    own = signature(method).return_annotation
    update_wrapper(method, operation)
    said = signature(operation)
    result = said.return_annotation.removeprefix("Conversation[").removesuffix("]")
    if result == "Flow":
        result = own
    vars(method)["__signature__"] = said.replace(return_annotation=result)
    return method


def _prepared(request: Request, source: Source | None = None) -> Conversation[Request]:
    """A request, with what is at its source for a body."""
    return request if source is None else replace(request, body=(yield from _body(source)))


def _body(source: Source, metadata: bool = False) -> Conversation[Body]:
    body: Body = yield Run(partial(body_of, source, metadata))
    return body


def _unless_none(metadata: Metadata) -> str | None:
    """The parameter, where it is not the default: services of before have none."""
    return None if metadata == "none" else metadata


def _parameters(**given: object) -> dict[str, str]:
    """The parameters that were given, as the service reads them."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
        if value is not None
    }


def _id(stream_id: str) -> str:
    if not isinstance(stream_id, str) or not re.fullmatch("[0-9a-f]{64}", stream_id):
        raise ValueError(f"an id has 64 hex digits, unlike {stream_id!r}")
    return stream_id

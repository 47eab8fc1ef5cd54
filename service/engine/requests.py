"""Whole requests, from what a client sent to what it gets: every stage in its order.

    compress     read the header ── admit ── decode ── picture coder ── store
    decompress   [store ──] read the header ── admit ── picture coder ── encode
    enhance      read the header ── admit ── decode ── picture coder ── finish ── encode
    allocate     read all headers ── admit ── collection ── store ── [archive]

A request is admitted as soon as its pixels are known, which costs no more than reading a header,
and leaves when its result is stored or encoded. Nothing here knows of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image
from structlog.contextvars import bind_contextvars

from models import Picture, Target
from models.bitstream import Bitstream
from models.codec import CodecName
from models.errors import CodecError
from models.postprocess.postprocessor import Postprocess, PostProcessor
from models.postprocess.sources import Source
from models.rate_control import Metric

from .. import images
from ..images import ImageError, ImageFormat, ImageTooLargeError
from ..metrics import Metrics
from ..settings import Settings
from ..store import StreamStore
from .collection import PictureSource, StoredCollection, compress_collection
from .engine import Engine
from .errors import TargetMissedError
from .results import EnhancedFile, Measure, PictureFile, StoredStream
from .timings import DECODE, ENCODE, FINISH, READ_HEADER, Timings


@dataclass(frozen=True, slots=True)
class CompressRequest:
    """Wishes for one image.

    Attributes:
        target: its budget, or a quality.
        profile: name of a loaded model.
        codec: what compresses.
        report: what to measure of the decoded picture.
        effort: 0 to 9.
        strict: refuse a stream over the budget.
    """

    target: Target
    profile: str
    codec: CodecName = "learned"
    report: frozenset[Measure] = frozenset()
    effort: int = 0
    strict: bool = False


@dataclass(frozen=True, slots=True)
class AllocateRequest:
    """Wishes for many images.

    Attributes:
        target: their budget, in bits per pixel of all together or in bytes.
        profile: name of a loaded model.
        metric: what to be best in, over all pictures.
        effort: 0 to 9.
        strict: refuse streams over the budget.
    """

    target: Target
    profile: str
    metric: Metric
    effort: int = 0
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """One image of many: its name to the client, its pixels, and how to get it."""

    name: str
    pixels: int
    picture: PictureSource


class Requests:
    """Runs requests.

    All methods raise `EngineError`s, `CodecError`s, `ImageError`s and `StoreError`s.

    Args:
        settings: of the service.
        metrics: of the service.
        engine: what compresses and decompresses.
        store: where streams are kept.
    """

    def __init__(self, settings: Settings, metrics: Metrics, engine: Engine, store: StreamStore) -> None:
        self._max_pixels = settings.max_pixels
        self._metrics = metrics
        self._engine = engine
        self._stages = engine.stages
        self._coder = engine.coder
        self._store = store

    async def compress(self, file: bytes, wanted: CompressRequest) -> StoredStream:
        """Compress an image file, and store the stream.

        Raises:
            TargetMissedError: the smallest stream is over the budget, and the request is strict.
        """
        timings = Timings()
        image = await self._open(file)
        pixels = image.width * image.height
        bind_contextvars(pixels=pixels)
        async with self._engine.admit(pixels, effort=wanted.effort) as deadline:
            picture = await self._stages.on_image_thread(DECODE, timings, images.decode, image)
            made = await self._coder.compress(
                picture,
                wanted.target,
                profile=wanted.profile,
                codec=wanted.codec,
                report=wanted.report,
                effort=wanted.effort,
                deadline=deadline,
                timings=timings,
            )
            size = len(made.stream.data)
            budget = wanted.target.budget(picture.pixels)
            if wanted.strict and budget is not None and size > budget:
                raise TargetMissedError(
                    f"the smallest stream that {made.stream.model} makes of this image has {size} bytes, "
                    f"not {budget}"
                )
            bind_contextvars(bpp=round(made.stream.bpp, 6))
            with self._stages.in_store(timings):
                stream_id = await self._store.put(made.stream.data)
        return StoredStream(made, stream_id, timings)

    async def decompress_stored(
        self, stream_id: str, image_format: ImageFormat, postprocess: Postprocess
    ) -> PictureFile:
        """Decompress a stored stream to an image file."""
        timings = Timings()
        with self._stages.in_store(timings):
            data = await self._store.get(stream_id)
        return await self.decompress(data, image_format, postprocess, timings)

    async def decompress(
        self, data: bytes, image_format: ImageFormat, postprocess: Postprocess, timings: Timings | None = None
    ) -> PictureFile:
        """Decompress a stream to an image file; `timings` is the account of the request so far."""
        timings = timings or Timings()
        stream = await self._parse(data)
        bind_contextvars(pixels=stream.pixels, bpp=round(8 * len(data) / stream.pixels, 6))
        async with self._engine.admit(stream.pixels) as deadline:
            made = await self._coder.decompress(
                stream, postprocess=postprocess, deadline=deadline, timings=timings
            )
            return await self._encode(made.picture, image_format, made.post_processor, timings)

    async def enhance(self, file: bytes, image_format: ImageFormat) -> EnhancedFile:
        """Take the artefacts out of a JPEG, WebP or AVIF file, and write the better picture.

        Raises:
            SourceError: post-processing was not trained for this file.
            NoPostProcessorError: there is no post-processor.
        """
        timings = Timings()
        post_processor = self._engine.models.post_processor().post_processor
        image, source = await self._stages.on_image_thread(
            READ_HEADER, None, _open_suitable, file, self._max_pixels, post_processor
        )
        pixels = image.width * image.height
        bind_contextvars(pixels=pixels, bpp=round(8 * len(file) / pixels, 6))
        async with self._engine.admit(pixels) as deadline:
            coded = await self._stages.on_image_thread(DECODE, timings, images.decode_as_coded, image)
            improved = await self._coder.enhance(
                coded, source, file_bytes=len(file), deadline=deadline, timings=timings
            )
            picture = await self._stages.on_image_thread(FINISH, timings, images.finished, improved, image)
            return EnhancedFile(await self._encode(picture, image_format, post_processor, timings), source)

    async def uploaded(self, name: str, file: bytes) -> Member:
        """Read the header of an image file, to make it one image of many."""
        with _naming(name):
            image = await self._open(file)

        async def picture(_: float) -> Picture:
            with _naming(name):
                return await self._stages.on_image_thread(DECODE, None, _decode, file, self._max_pixels)

        return Member(name, image.width * image.height, picture)

    async def stored(self, stream_id: str) -> Member:
        """Read the header of a stored stream, to make its picture one image of many."""
        data = await self._store.get(stream_id)
        with _naming(stream_id):
            stream = await self._parse(data)

        async def picture(deadline: float) -> Picture:
            with _naming(stream_id):
                made = await self._coder.decompress(stream, deadline=deadline)
            return made.picture

        return Member(stream_id, stream.pixels, picture)

    async def allocate(self, members: Sequence[Member], wanted: AllocateRequest) -> StoredCollection:
        """Compress images to one budget for all of them, and store the streams.

        Raises:
            ImageTooLargeError: they have more pixels together than one image may have.
            TargetMissedError: the smallest streams are over the budget, and the request is strict.
        """
        timings = Timings()
        pixels = [member.pixels for member in members]
        if sum(pixels) > self._max_pixels:
            raise ImageTooLargeError(
                f"the images have {sum(pixels)} pixels together; the limit is {self._max_pixels}"
            )
        bind_contextvars(pixels=sum(pixels), images=len(members))
        budget = max(1, wanted.target.budget(sum(pixels)) or 0)
        async with self._engine.admit(sum(pixels), effort=wanted.effort) as deadline:
            found = await compress_collection(
                self._coder,
                [member.picture for member in members],
                pixels,
                budget,
                metric=wanted.metric,
                profile=wanted.profile,
                effort=wanted.effort,
                deadline=deadline,
                timings=timings,
            )
            if wanted.strict and found.size > budget:
                raise TargetMissedError(
                    f"the smallest streams that {wanted.profile} makes of these images have {found.size} "
                    f"bytes, not {budget}"
                )
            with self._stages.in_store(timings):
                ids = [await self._store.put(made.stream.data) for made in found.made]
        self._metrics.allocated(len(members))
        return StoredCollection(found, budget, sum(pixels), tuple(ids), timings)

    async def _open(self, file: bytes) -> Image.Image:
        return await self._stages.on_image_thread(
            READ_HEADER, None, images.open_image, file, max_pixels=self._max_pixels
        )

    async def _parse(self, data: bytes) -> Bitstream:
        """Parse a stream of a loaded model; an unknown model is refused before admission."""
        stream = await self._stages.on_image_thread(
            READ_HEADER, None, Bitstream.parse, data, max_pixels=self._max_pixels
        )
        self._engine.models.profile_of(stream.model_id.hex())
        return stream

    async def _encode(
        self,
        picture: Picture,
        image_format: ImageFormat,
        post_processor: PostProcessor | None,
        timings: Timings,
    ) -> PictureFile:
        file, digest = await self._stages.on_image_thread(ENCODE, timings, _encode, picture, image_format)
        return PictureFile(file, digest, post_processor, timings)


def _open_suitable(file: bytes, max_pixels: int, post_processor: PostProcessor) -> tuple[Image.Image, Source]:
    image, source = images.open_lossy(file, max_pixels=max_pixels)
    post_processor.check(source)
    return image, source


def _decode(file: bytes, max_pixels: int) -> Picture:
    return images.decode(images.open_image(file, max_pixels=max_pixels))


def _encode(picture: Picture, image_format: ImageFormat) -> tuple[bytes, bytes]:
    # Hashing ten megabytes takes ten milliseconds that the event loop should not give.
    file = images.encode(picture, image_format)
    return file, sha256(file).digest()


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the image in an error, where there are several."""
    try:
        yield
    except (CodecError, ImageError) as error:
        error.args = (f"{name[:100]!r}: {error}", *error.args[1:])
        raise

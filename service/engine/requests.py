"""Whole requests, from what a client sent to what it gets: every stage in its order.

    compress     read the header ── admit ── decode ── picture coder ── store
    decompress   [store ──] read the header ── admit ── picture coder ── encode
    enhance      read the header ── admit ── decode ── picture coder ── finish ── encode
    encode       read the header ── admit ── decode ── encode, several times ── compare
    allocate     read all headers ── admit ── collection ── store ── [archive]

A request's time starts with its first stage, when all of its body is there. It is admitted as soon
as its pixels are known, which costs no more than reading a header, and leaves when its result is
stored or encoded. Nothing here knows of HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from structlog.contextvars import bind_contextvars

from models import Picture, Target
from models.bitstream import Bitstream
from models.codec import CodecName
from models.errors import CodecError
from models.metadata import Keep, Metadata, kept, unpack
from models.postprocess.postprocessor import Postprocess, PostProcessor
from models.rate_control import Metric

from .. import images
from ..images import DamagedImageError, Decoded, Header, ImageError, ImageFormat, ImageTooLargeError
from ..metrics import Metrics
from ..settings import Settings
from ..store import StreamStore
from . import costs, image_worker
from .collection import PictureSource, StoredCollection, compress_collection, sweep
from .engine import Engine
from .errors import TargetMissedError, WorkerDiedError
from .results import EncodedFile, EnhancedFile, Measure, MeasuredFile, PictureFile, StoredStream
from .timings import DECODE, ENCODE, FINISH, READ_HEADER, Step, Timings

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class CompressRequest:
    """Wishes for one image.

    Attributes:
        target: its budget, a quality, or minima.
        profile: name of a loaded model.
        codec: what compresses.
        report: what to measure of the decoded picture.
        effort: 0 to 9.
        strict: refuse a stream over the budget, or short of the minima.
        metadata: what to keep of the file's.
    """

    target: Target
    profile: str
    codec: CodecName = "learned"
    report: frozenset[Measure] = frozenset()
    effort: int = 0
    strict: bool = False
    metadata: Keep = "none"


@dataclass(frozen=True, slots=True)
class EncodeRequest:
    """Wishes for a file of another codec.

    Attributes:
        format: what to write.
        max_bytes: that the file may have.
        report: what to measure of its picture.
    """

    format: ImageFormat
    max_bytes: int
    report: frozenset[Measure] = frozenset()


@dataclass(frozen=True, slots=True)
class AllocateRequest:
    """Wishes for many images.

    Attributes:
        target: their budget, in bits per pixel of all together or in bytes.
        profile: name of a loaded model.
        metric: what to be best in, over all pictures.
        effort: 0 to 9.
        strict: refuse streams over the budget.
        metadata: what to keep of the files' and the streams'.
    """

    target: Target
    profile: str
    metric: Metric
    effort: int = 0
    strict: bool = False
    metadata: Keep = "none"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """An image file of many, by the client's name for it."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A stored stream of many, by its id; its picture is the one that it decodes to."""

    id: str


@dataclass(frozen=True, slots=True)
class _Member:
    """One picture of many: its name to the client, its pixels, the bytes that it came in, and how
    to get it.
    """

    name: str
    pixels: int
    source_bytes: int
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
            TargetMissedError: the smallest stream is over the budget, or none reaches the minima,
                and the request is strict.
        """
        timings = Timings()
        async with self._engine.deadline() as deadline:
            header = await self._read(READ_HEADER, None, 0, images.read_header, file)
            bind_contextvars(pixels=header.pixels)
            with self._engine.admit(
                costs.compress(header.pixels, wanted.codec, wanted.report, wanted.effort, wanted.target)
            ):
                decoded = await self._decode(timings, header, file, wanted.metadata)
                made = await self._coder.compress(
                    decoded.picture,
                    wanted.target,
                    profile=wanted.profile,
                    codec=wanted.codec,
                    report=wanted.report,
                    effort=wanted.effort,
                    metadata=decoded.kept.section,
                    deadline=deadline,
                    timings=timings,
                )
                size = len(made.stream.data)
                budget = wanted.target.budget(header.pixels)
                if wanted.strict and budget is not None and size > budget:
                    raise TargetMissedError(
                        f"the smallest stream that {made.stream.model} makes of this image has {size} "
                        f"bytes, not {budget}"
                    )
                if wanted.strict and wanted.target.minima and not made.stream.target_met:
                    scores = ", ".join(f"{name} {value:.5g}" for name, value in made.stream.scores.items())
                    raise TargetMissedError(
                        f"no stream that {made.stream.model} makes of this image"
                        f"{'' if budget is None else f' within {budget} bytes'} reaches the minima; the "
                        f"nearest has {scores}"
                    )
                bind_contextvars(bpp=round(made.stream.bpp, 6))
                with self._stages.in_store(timings):
                    stream_id = await self._store.put(made.stream.data)
        return StoredStream(made, stream_id, len(file), decoded.kept, decoded.warnings, timings)

    async def decompress_stored(
        self, stream_id: str, formats: Sequence[ImageFormat], postprocess: Postprocess
    ) -> PictureFile:
        """Decompress a stored stream to an image file, of the first format that it fits into."""
        timings = Timings()
        async with self._engine.deadline() as deadline:
            with ExitStack() as room:
                async with AsyncExitStack() as held:
                    with self._stages.in_store(timings):
                        data = await held.enter_async_context(self._store.held(stream_id))
                    stream, image_format = await self._admit_stream(data, formats, room)
                return await self._decompress(stream, image_format, postprocess, deadline, timings)

    async def format_of_stored(self, stream_id: str, formats: Sequence[ImageFormat]) -> ImageFormat:
        """Choose the first format that a stored stream's picture fits into, without decoding it."""
        async with self._store.held(stream_id) as data:
            stream = await self._parse(data)
        return images.first_fitting(formats, stream.width, stream.height)

    async def decompress(
        self, data: bytes, formats: Sequence[ImageFormat], postprocess: Postprocess
    ) -> PictureFile:
        """Decompress a stream to an image file, of the first format that it fits into."""
        async with self._engine.deadline() as deadline:
            with ExitStack() as room:
                stream, image_format = await self._admit_stream(data, formats, room)
                return await self._decompress(stream, image_format, postprocess, deadline, Timings())

    async def enhance(self, file: bytes, formats: Sequence[ImageFormat]) -> EnhancedFile:
        """Take the artefacts out of a JPEG, WebP or AVIF file, and write the better picture.

        It is written in the first format that it fits into.

        Raises:
            SourceError: post-processing was not trained for this file.
            NoPostProcessorError: there is no post-processor.
        """
        timings = Timings()
        post_processor = self._engine.models.post_processor().post_processor
        async with self._engine.deadline() as deadline:
            header, source = await self._read(READ_HEADER, None, 0, images.read_lossy_header, file)
            post_processor.check(source)
            image_format = images.first_fitting(formats, header.width, header.height)
            bind_contextvars(pixels=header.pixels, bpp=round(8 * len(file) / header.pixels, 6))
            with self._engine.admit(costs.enhance(header.pixels)):
                coded = await self._read(DECODE, timings, header.pixels, images.decode_as_coded, file)
                improved = await self._coder.enhance(
                    coded, source, file_bytes=len(file), deadline=deadline, timings=timings
                )
                picture = await self._read(FINISH, timings, header.pixels, images.finished, improved, file)
                enhanced = await self._encode(picture, image_format, post_processor, timings)
        return EnhancedFile(enhanced, source, header.carries)

    async def encode(self, file: bytes, wanted: EncodeRequest) -> EncodedFile:
        """Write an image file in another codec's format, as well as so many bytes allow.

        Each encode is a job of its own: between them the workers are free for others, and a client
        that hangs up is found out.

        Raises:
            TargetMissedError: the file of the coarsest quality is over the budget.
        """
        timings = Timings()
        async with self._engine.deadline() as deadline:
            header = await self._read(READ_HEADER, None, 0, images.read_header, file)
            images.first_fitting([wanted.format], header.width, header.height)
            bind_contextvars(pixels=header.pixels)
            with self._engine.admit(costs.encode(header.pixels, wanted.format, wanted.report)):
                decoded = await self._read(DECODE, timings, header.pixels, images.decode, file)
                original = decoded.picture
                if wanted.format is ImageFormat.JPEG:
                    original = await self._stages.in_image_worker(
                        FINISH, None, header.pixels, images.flattened, original
                    )
                content, quality = await self._best_within(original, wanted, timings)
                report: Mapping[Measure, float] = {}
                if wanted.report:
                    shown = await self._read(DECODE, timings, header.pixels, images.decode, content)
                    report = await self._coder.compare(
                        shown.picture, original, wanted.report, deadline=deadline, timings=timings
                    )
        return EncodedFile(content, header.pixels, quality, report, decoded.kept.dropped, timings)

    async def _best_within(
        self, picture: Picture, wanted: EncodeRequest, timings: Timings
    ) -> tuple[bytes, int]:
        """Find the highest quality whose file is within the budget: a bisection, as sizes grow."""
        found: tuple[bytes, int] | None = None
        left = images.QUALITIES[wanted.format]
        while left:
            middle = len(left) // 2
            content = await self._stages.encode_beside(
                timings, picture.pixels, images.encode_at, picture, wanted.format, left[middle]
            )
            if len(content) <= wanted.max_bytes:
                found = content, left[middle]
                left = left[middle + 1 :]
            else:
                left = left[:middle]
        if found is None:
            raise TargetMissedError(
                f"the smallest {wanted.format.name} of this image has {len(content)} bytes, not "
                f"{wanted.max_bytes}"
            )
        return found

    async def allocate(
        self, inputs: Sequence[NamedFile | StoredPicture], wanted: AllocateRequest
    ) -> StoredCollection:
        """Compress pictures to one budget for all of them, and store the streams.

        Raises:
            ImageTooLargeError: they have more pixels together than one image may have.
            TargetMissedError: the smallest streams are over the budget, and the request is strict.
        """
        timings = Timings()
        async with self._engine.deadline() as deadline:
            members: list[_Member] = []
            pixels: list[int] = []
            for source in inputs:
                members.append(await self._member(source, wanted.metadata))
                pixels.append(members[-1].pixels)
                if sum(pixels) > self._max_pixels:  # at once: one may be named a hundred times
                    raise ImageTooLargeError(
                        f"{len(pixels)} of {len(inputs)} images have {sum(pixels)} pixels together; "
                        f"the limit is {self._max_pixels}"
                    )
            bind_contextvars(pixels=sum(pixels), images=len(members))
            budget = max(1, wanted.target.budget(sum(pixels)) or 0)
            with self._engine.admit(costs.allocate(sum(pixels), wanted.effort)):
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
                        f"the smallest streams that {wanted.profile} makes of these images have "
                        f"{found.size} bytes, not {budget}"
                    )
                with self._stages.in_store(timings):
                    ids = [await self._store.put(made.stream.data) for made in found.made]
        self._metrics.allocated(len(members))
        names = tuple(member.name for member in members)
        sources = tuple(member.source_bytes for member in members)
        return StoredCollection(found, budget, sum(pixels), names, sources, tuple(ids), timings)

    async def measure(self, file: bytes, profile: str, metadata: Keep = "none") -> MeasuredFile:
        """Measure an image file at `models.collection.QUALITIES`, as `allocate` does with each.

        The bytes of the metadata that is kept count.
        """
        async with self._engine.deadline() as deadline:
            header = await self._read(READ_HEADER, None, 0, images.read_header, file)
            with self._engine.admit(costs.allocate(header.pixels, 0)):
                decoded = await self._decode(None, header, file, metadata)
                measured = await sweep(self._coder, decoded, profile, deadline)
        return MeasuredFile(decoded.picture.width, decoded.picture.height, tuple(measured))

    async def _member(self, source: NamedFile | StoredPicture, keep: Keep) -> _Member:
        """Read the header of one picture of many."""
        if isinstance(source, NamedFile):
            return await self._uploaded(source, keep)
        return await self._stored(source, keep)

    async def _uploaded(self, file: NamedFile, keep: Keep) -> _Member:
        with _naming(file.name):
            header = await self._read(READ_HEADER, None, 0, images.read_header, file.content)

        async def picture(_: float) -> Decoded:
            with _naming(file.name):
                return await self._decode(None, header, file.content, keep)

        return _Member(file.name, header.pixels, len(file.content), picture)

    async def _stored(self, stored: StoredPicture, keep: Keep) -> _Member:
        async def stream() -> Bitstream:
            # Read anew whenever it is wanted: what names its streams is not admitted yet.
            async with self._store.held(stored.id) as data:
                with _naming(stored.id):
                    return await self._parse(data)

        async def picture(deadline: float) -> Decoded:
            with _naming(stored.id):
                parsed = await stream()
                made = await self._coder.decompress(parsed, deadline=deadline)
            found = Metadata() if parsed.metadata is None else unpack(parsed.metadata)
            return Decoded(made.picture, kept=kept(found, keep, parsed.width, parsed.height))

        header = await stream()
        return _Member(stored.id, header.pixels, header.size, picture)

    async def _admit_stream(
        self, data: bytes, formats: Sequence[ImageFormat], room: ExitStack
    ) -> tuple[Bitstream, ImageFormat]:
        """Parse a stream and hold room for decompressing it, until `room` is closed.

        Returns:
            The stream, and the first of the formats that its picture fits into.
        """
        stream = await self._parse(data)
        image_format = images.first_fitting(formats, stream.width, stream.height)
        bind_contextvars(pixels=stream.pixels, bpp=round(8 * len(data) / stream.pixels, 6))
        room.enter_context(self._engine.admit(costs.decompress(stream.pixels)))
        return stream, image_format

    async def _decompress(
        self,
        stream: Bitstream,
        image_format: ImageFormat,
        postprocess: Postprocess,
        deadline: float,
        timings: Timings,
    ) -> PictureFile:
        made = await self._coder.decompress(
            stream, postprocess=postprocess, deadline=deadline, timings=timings
        )
        return await self._encode(made.picture, image_format, made.post_processor, timings, stream.metadata)

    async def _decode(self, timings: Timings | None, header: Header, file: bytes, keep: Keep) -> Decoded:
        """Decode an image file of this header; raises what `_read` raises."""
        return await self._read(DECODE, timings, header.pixels, images.decode, file, keep=keep)

    async def _read(
        self,
        step: Step,
        timings: Timings | None,
        pixels: int,
        function: Callable[..., _T],
        *args: object,
        **kwargs: object,
    ) -> _T:
        """Run a function of `images` in an image worker; `pixels` are 0 for a header alone.

        Raises:
            DamagedImageError: a decoder crashes on it, among other things.
        """
        try:
            return await self._stages.in_image_worker(
                step, timings, pixels, function, *args, max_pixels=self._max_pixels, **kwargs
            )
        except WorkerDiedError as error:
            raise DamagedImageError("the decoder crashed on this image") from error

    async def _parse(self, data: bytes) -> Bitstream:
        """Parse a stream of a loaded model; an unknown model is refused before admission."""
        stream = await self._stages.on_thread(
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
        metadata: bytes | None = None,
    ) -> PictureFile:
        file, digest = await self._stages.in_image_worker(
            ENCODE, timings, picture.pixels, image_worker.encode, picture, image_format, metadata
        )
        return PictureFile(file, digest, post_processor, timings, image_format)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Name the image in an error, where there are several."""
    try:
        yield
    except (CodecError, ImageError) as error:
        error.args = (f"{name[:100]!r}: {error}", *error.args[1:])
        raise

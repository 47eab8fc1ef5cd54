"""HybridCodec: AVIF in the container (codec 1), to the same budgets as the learned codec.

    encode   picture --AVIF at the setting that the budget allows--> file --strip--> container
    decode   container --restore--> file --AVIF--> picture --post-processor, if any--> picture

AVIF is encoded by libaom through Pillow, in one thread and one tile, so that a stream depends on
the versions of the two and on nothing else of the machine. All of it is CPU work outside of the
interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.avif.section import strip
from models.bitstream import Bitstream, CodecKind, header_bytes
from models.bitstream.alpha import encode_alpha
from models.errors import SourceError
from models.hybrid import MODEL_ID, NAME, av1, libaom
from models.picture import Picture
from models.postprocess.postprocessor import FILES, Postprocess, PostProcessor, decide
from models.postprocess.sources import Source
from models.postprocess.sources import read as read_source
from models.progress import Progress
from models.rate_control import Metric, Position, Target, meets
from models.rate_control.avif_search import LAST_SETTING, AvifSearch, average_sizes
from models.stream import Stream

Encoder = Callable[[NDArray[np.uint8], Metric, int, int], bytes]
"""Encodes samples as `libaom.encode` does."""


class _Draft:
    """A picture on its way to a stream.

    Attributes:
        made: the streams made of it so far, by setting.
    """

    def __init__(
        self,
        picture: Picture,
        metric: Metric,
        alpha: bytes | None,
        post_processor: PostProcessor | None,
        encoder: Encoder,
    ) -> None:
        self.made: dict[int, bytes] = {}
        self._post_processor = post_processor
        self._picture = picture
        self._encode = encoder
        self._samples = np.ascontiguousarray(picture.rgb[..., 0]) if picture.greyscale else picture.rgb
        self._metric: Metric = metric
        self._alpha = alpha
        self._fixed = header_bytes(0, 0, None if alpha is None else len(alpha)) + len(alpha or b"")

    def search(self, budget: int, tolerance: float, speed: int, progress: Progress | None) -> int:
        """The setting of the best stream within `budget` bytes; of the smallest, when none is."""
        expected = average_sizes(self._picture.pixels)
        if speed < libaom.ESTIMATE_SPEED:
            expected = self._estimate_sizes(budget, expected) * libaom.SIZE_RATIO[self._metric]
        search = AvifSearch(budget, self._fixed, expected, tolerance=tolerance)
        while (setting := search.probe) is not None:
            search.observe(setting, self.make(setting, speed))
            if progress is not None and not progress.advance(len(self.made), len(self.made) + 1):
                break
        return search.best

    def make(self, setting: int, speed: int) -> int:
        """Make the stream at a setting; returns its size in bytes."""
        stream = Bitstream(
            codec=CodecKind.HYBRID,
            model_id=bytes.fromhex(MODEL_ID),
            width=self._picture.width,
            height=self._picture.height,
            position=Position.from_share(setting / LAST_SETTING),
            greyscale=self._picture.greyscale,
            postprocess=False,
            z=b"",
            y=self._section(setting, speed),
            alpha=self._alpha,
        )
        self.made[setting] = replace(stream, postprocess=self._recommends(stream)).to_bytes()
        return len(self.made[setting])

    def _section(self, setting: int, speed: int) -> bytes:
        """The y section at a setting."""
        picture = self._picture
        file = self._encode(self._samples, self._metric, setting, speed)
        return strip(file, width=picture.width, height=picture.height, mono=picture.greyscale)

    def _recommends(self, stream: Bitstream) -> bool:
        """Tell whether a decoder at its own choice should post-process this stream."""
        with suppress(SourceError):
            source = read_source(av1.file_of(stream))
            return decide("auto", recommended=True, source=source, post_processor=self._post_processor)
        return False

    def _estimate_sizes(self, budget: int, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        """AVIF's bytes at every level at libaom's highest speed, (LEVELS,), right near the budget.

        Together the two or three encodes take less than half the time of one at effort 0.
        """
        budget_at_speed = round(budget / libaom.SIZE_RATIO[self._metric])
        search = AvifSearch(budget_at_speed, self._fixed, expected, strengths=False)
        while (setting := search.probe) is not None:
            search.observe(setting, self._fixed + len(self._section(setting, libaom.ESTIMATE_SPEED)))
        return search.expected()


class HybridCodec:
    """AVIF in the container. Threads may share one.

    Args:
        post_processor: for AVIF's artefacts; streams recommend it where it was trained.
    """

    name = NAME
    model_id = MODEL_ID

    def __init__(self, post_processor: PostProcessor | None = None) -> None:
        self.post_processor = post_processor

    @classmethod
    def load(cls, *, device: str = "cpu", bfloat16: bool | None = None) -> HybridCodec:
        """Load the post-processor too, if there are weights of it. Raises `WeightsError`."""
        return cls(PostProcessor.find(FILES, device=device, bfloat16=bfloat16))

    def encode(
        self,
        picture: Picture,
        target: Target,
        *,
        metric: Metric = "ms-ssim",
        alpha: bytes | None = None,
        effort: int = 0,
        progress: Progress | None = None,
        encoder: Encoder = libaom.encode,
    ) -> Stream:
        """Compress a picture to its budget: at the highest setting found within it.

        Args:
            picture: the pixels.
            target: the budget, or a quality.
            metric: "psnr" or "ms-ssim", which to spend the bits for.
            alpha: the section that `encode_alpha` made of the picture, if that is done.
            effort: 0 to 9, lower speeds of libaom; decoding costs the same.
            progress: told after each AVIF encode how many were done and how many there may be. When
                it answers False, the search ends early, with the best stream so far.
            encoder: encodes AVIF; given by a service that does it in a process of its own.

        Raises:
            AvifError: Pillow's AVIF encoder failed, or wrote a file that `strip` cannot take.
            TargetError: the target has minima, for which `Codec.compress` is there.
            OptionError: there is no such effort.
        """
        target.check_for_minima()
        speed = libaom.speed_of(effort, picture.pixels)
        alpha = encode_alpha(picture) if alpha is None else alpha
        draft = _Draft(picture, metric, alpha, self.post_processor, encoder)
        budget = target.budget(picture.pixels)
        if budget is None:
            best = round((target.quality or 0.0) / 100 * LAST_SETTING)
            draft.make(best, speed)
        else:
            best = draft.search(max(1, budget), target.tolerance, speed, progress)
        data = draft.made[best]
        return Stream(
            data=data,
            width=picture.width,
            height=picture.height,
            quality=100 * best / LAST_SETTING,
            model=NAME,
            probes=len(draft.made),
            target=target,
            target_met=budget is None or meets(budget, len(data), target.tolerance),
            codec=CodecKind.HYBRID,
        )

    def decode(
        self, data: bytes, *, max_pixels: int | None = None, postprocess: Postprocess = "auto"
    ) -> Picture:
        """Decompress a hybrid stream of at most `max_pixels` to its picture.

        Raises:
            BitstreamError: a subclass for each cause; `UnknownModelError` for another codec's.
            SourceError: it must be post-processed and cannot be.
        """
        return self.reconstruct(Bitstream.parse(data, max_pixels=max_pixels), postprocess=postprocess)

    def reconstruct(self, stream: Bitstream, *, postprocess: Postprocess = "auto") -> Picture:
        """Decompress a parsed stream; see `decode`, whose errors it raises."""
        picture = av1.decode(stream)
        source = self.source(stream, postprocess)
        if source is None or self.post_processor is None:
            return picture
        return self.post_processor.improve([picture], [source])[0]

    def source(self, stream: Bitstream, postprocess: Postprocess) -> Source | None:
        """Decide on post-processing of a stream that `av1.decode` has decoded.

        Returns:
            What to improve its picture as; None for not at all.

        Raises:
            SourceError: it must be post-processed and cannot be.
        """
        try:
            source = read_source(av1.file_of(stream))
            wanted = decide(
                postprocess,
                recommended=stream.postprocess,
                source=source,
                post_processor=self.post_processor,
            )
        except SourceError:
            if postprocess == "on":
                raise
            return None
        return source if wanted else None

"""HybridCodec: AVIF in the container (codec 1), to the same budgets as the learned codec.

    encode   picture --AVIF at the setting that the budget allows--> file --strip--> container
    decode   container --restore--> file --AVIF--> picture --post-processor, if there is one for it--> picture

AVIF is encoded by libaom through Pillow, in one thread and one tile, so that a stream depends on the versions of the two and on nothing
else of the machine. All of it is CPU work outside of the interpreter's lock.

The quality axis has 2080 positions, see `models.rate_control.avif_search`: with libaom's quantiser levels alone, streams would lie 4 % under their budgets
on average and up to 13. The settings for each metric are the best of those measured on four Kodak images at 0.1 to 0.5 bits per pixel
(speed 6; bits at equal PSNR and at equal MS-SSIM against libavif's default, tune=iq, in 4:4:4):

    tune=psnr                               -10.4 %  +13.4 %
    + enable-cdef=1                         -13.2 %  +10.8 %
    + deltaq-mode=6, deltaq-strength=10     -13.8 %   +9.3 %    psnr (with strength 25: -13.3 %; in 4:2:0: -9.0 %)
    tune=ssim, the same, strength 100        -8.7 %   -1.5 %
    tune=ssim, the same, strength 200        -3.5 %   -2.0 %    (in 4:2:0: -0.5 %, +2.9 %)
    + enable-qm=1, strength 140              -1.6 %   -3.1 %    ms-ssim (with strength 200: +0.8 %, -3.3 %)
    tune=iq, strength 200                    +4.2 %   -1.3 %

At higher rates tune=iq overtakes the others by MS-SSIM: at 0.5 to 1.2 bits per pixel the setting chosen above needs 5.5 % more than it.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from models.avif.section import restore, strip
from models.bitstream import Bitstream, CodecKind, header_bytes
from models.bitstream.alpha import decode_alpha, encode_alpha
from models.errors import AvifError, DamagedStreamError, SourceError, UnknownModelError
from models.picture import Picture
from models.postprocess.postprocessor import FILES, Postprocess, PostProcessor, decide
from models.postprocess.sources import Source
from models.postprocess.sources import read as read_source
from models.progress import Progress
from models.rate_control import Metric, Position, Target, meets
from models.rate_control.avif_search import LAST, LEVELS, STRENGTHS, AvifSearch, average_sizes
from models.stream import Stream

NAME = "avif"
# What decoding depends on beside the stream: nothing but AV1. Post-processing is recommended by a flag and comes after decoding.
MODEL_ID = sha256(b"AV1 still picture, no post-processing").hexdigest()[:8]

SPEEDS = (6, 5, 4, 4, 3, 3, 2, 2, 1, 0)  # of libaom at effort 0 to 9
SKETCH = 9  # the speed at which rate control looks around
# Larger pictures are encoded faster, or they would not be done within a request: (pixels, lowest speed).
HASTE = ((32_000_000, 9), (8_000_000, 8))
# Of one core, for one encode at each speed (measured at 0.3 bits per pixel, libaom 3.14; the slower of the two tunings).
SECONDS_PER_MEGAPIXEL = (55.0, 22.0, 18.0, 15.0, 9.0, 6.5, 1.6, 0.9, 0.6, 0.3)


def speed_of(effort: int, pixels: int) -> int:
    """libaom's speed at an effort for a picture of so many pixels. Raises ValueError when there is no such effort."""
    if effort not in range(len(SPEEDS)):
        raise ValueError(f"effort is 0 to {len(SPEEDS) - 1}, not {effort}")
    return max([SPEEDS[effort], *(lowest for most, lowest in HASTE if pixels > most)])


@dataclass(frozen=True, slots=True)
class _Tuning:
    """libaom's settings at a range of levels.

    Attributes:
        from_level: the lowest.
        options: beside those of all.
        base: the lowest strength of the variance-adaptive quantisation.
        step: from one strength to the next.
    """

    from_level: int
    options: tuple[tuple[str, str], ...]
    base: int
    step: int


# By falling level.
_TUNINGS: dict[Metric, tuple[_Tuning, ...]] = {
    "psnr": (
        _Tuning(9, (("tune", "psnr"),), base=4, step=1),
        _Tuning(0, (("tune", "psnr"),), base=4, step=4),  # the coarsest quantisers are up to a third of the size apart
    ),
    "ms-ssim": (
        _Tuning(14, (("tune", "iq"),), base=110, step=2),  # where both make streams of equal size and quality
        _Tuning(0, (("tune", "ssim"), ("enable-qm", "1")), base=120, step=2),
    ),
}
_SKETCH_RATIO: dict[Metric, float] = {"psnr": 1.05, "ms-ssim": 1.2}  # of sizes at speed 6 to those at SKETCH


def _advanced(metric: Metric, position: int) -> tuple[tuple[str, str], ...]:
    """libaom's settings at a position.

    Level 0 is the coarsest quantiser without variance-adaptive quantisation, which could only refine it; level 1 has the second and the
    strengths below the tuning's range; from level 2 on there is one level for each quantiser.
    """
    level, number = divmod(position, STRENGTHS)
    tuning = next(one for one in _TUNINGS[metric] if level >= one.from_level)
    strength = tuning.base * number // STRENGTHS if level == 1 else tuning.base + tuning.step * number
    adaptive = (("deltaq-mode", "6"), ("deltaq-strength", str(strength))) if level else (("deltaq-mode", "0"),)
    quantiser = 63 if level == 0 else min(LEVELS - 1 - level, 62)
    return (*tuning.options, ("enable-cdef", "1"), *adaptive, ("cq-level", str(quantiser)))


class _Draft:
    """A picture on its way to a stream, and the streams made of it so far, by position."""

    def __init__(self, picture: Picture, metric: Metric, alpha: bytes | None, post_processor: PostProcessor | None) -> None:
        self.made: dict[int, bytes] = {}
        self._post_processor = post_processor
        self._picture = picture
        self._image = Image.fromarray(picture.rgb[..., 0] if picture.greyscale else picture.rgb)
        self._metric = metric
        self._alpha = alpha
        self._fixed = header_bytes(0, 0, None if alpha is None else len(alpha)) + len(alpha or b"")

    def search(self, budget: int, tolerance: float, speed: int, progress: Progress | None) -> int:
        """The position of the best stream within the budget; of the smallest, when none is."""
        expected = average_sizes(self._picture.pixels)
        if speed < SKETCH:
            expected = self._sketch(budget, expected) * _SKETCH_RATIO[self._metric]
        search = AvifSearch(budget, self._fixed, expected, tolerance=tolerance)
        while (position := search.probe) is not None:
            search.observe(position, self.make(position, speed))
            if progress is not None and not progress.advance(len(self.made), len(self.made) + 1):
                break
        return search.best

    def make(self, position: int, speed: int) -> int:
        """A stream at a position; its size in bytes."""
        section = _encode(self._image, _advanced(self._metric, position), speed)
        stream = Bitstream(
            codec=CodecKind.HYBRID,
            model_id=bytes.fromhex(MODEL_ID),
            width=self._picture.width,
            height=self._picture.height,
            position=Position.from_share(position / LAST),
            greyscale=self._picture.greyscale,
            postprocess=False,
            z=b"",
            y=section,
            alpha=self._alpha,
        )
        self.made[position] = replace(stream, postprocess=self._recommends(stream)).to_bytes()
        return len(self.made[position])

    def _recommends(self, stream: Bitstream) -> bool:
        """Whether post-processing is for this."""
        with suppress(SourceError):
            return decide("auto", recommended=True, source=read_source(_file(stream)), post_processor=self._post_processor)
        return False

    def _sketch(self, budget: int, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sizes at every level, at libaom's highest speed: together the two or three encodes take less than half of a real one."""
        search = AvifSearch(round(budget / _SKETCH_RATIO[self._metric]), self._fixed, expected, strengths=False)
        while (position := search.probe) is not None:
            size = len(_encode(self._image, _advanced(self._metric, position), SKETCH))
            search.observe(position, self._fixed + size)
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
        """With the post-processor, if there are weights of it."""
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
    ) -> Stream:
        """A picture to its budget: the highest position found within it.

        Args:
            picture, target: what to compress to what.
            metric: "psnr" or "ms-ssim", which to spend the bits for.
            alpha: what `encode_alpha` made of the picture, if that is done.
            effort: 0 to 9, lower speeds of libaom; decoding costs the same.
            progress: told after each AVIF encode how many were done and how many there may be; when it answers False, the search ends
                early, with the best stream so far.

        Raises:
            AvifError: Pillow's AVIF encoder failed.
        """
        speed = speed_of(effort, picture.pixels)
        alpha = encode_alpha(picture) if alpha is None else alpha
        draft = _Draft(picture, metric, alpha, self.post_processor)
        budget = target.budget(picture.pixels)
        if budget is None:
            best = round((target.quality or 0.0) / 100 * LAST)
            draft.make(best, speed)
        else:
            best = draft.search(max(1, budget), target.tolerance, speed, progress)
        data = draft.made[best]
        return Stream(
            data=data,
            width=picture.width,
            height=picture.height,
            quality=100 * best / LAST,
            model=NAME,
            probes=len(draft.made),
            target=target,
            target_met=budget is None or meets(budget, len(data), target.tolerance),
            codec=CodecKind.HYBRID,
        )

    def decode(self, data: bytes, *, max_pixels: int | None = None, postprocess: Postprocess = "auto") -> Picture:
        """Decompress a hybrid stream to its picture.

        Raises:
            BitstreamError: a subclass per cause; `UnknownModelError` for another codec's.
            SourceError: it must be post-processed and cannot be.
        """
        return self.reconstruct(Bitstream.parse(data, max_pixels=max_pixels), postprocess=postprocess)

    def reconstruct(self, stream: Bitstream, *, postprocess: Postprocess = "auto") -> Picture:
        """Do all of `decode` but the parsing of the container. Raises what it raises."""
        picture, source = self.decode_av1(stream, postprocess=postprocess)
        if source is None or self.post_processor is None:
            return picture
        return self.post_processor.improve([picture], [source])[0]

    def decode_av1(self, stream: Bitstream, *, postprocess: Postprocess = "auto") -> tuple[Picture, Source | None]:
        """The CPU's share of `decode`: the picture in the AV1 frame, and what to post-process it as, if at all."""
        if stream.codec is not CodecKind.HYBRID or stream.model_id.hex() != MODEL_ID:
            raise UnknownModelError(stream.model_id.hex())
        alpha = decode_alpha(stream)
        file = _file(stream)
        picture = Picture(rgb=_decode(file, stream), alpha=alpha, greyscale=stream.greyscale)
        try:
            source = read_source(file)
            wanted = decide(postprocess, recommended=stream.postprocess, source=source, post_processor=self.post_processor)
        except SourceError:
            if postprocess == "on":
                raise
            return picture, None
        return picture, source if wanted else None


def _encode(image: Image.Image, advanced: tuple[tuple[str, str], ...], speed: int) -> bytes:
    """The y section."""
    file = io.BytesIO()
    mono = image.mode == "L"
    options = {"subsampling": "4:0:0" if mono else "4:4:4", "codec": "aom", "max_threads": 1, "autotiling": False}
    try:
        image.save(file, "AVIF", speed=speed, advanced=advanced, **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:  # KeyError: Pillow was built without AVIF
        raise AvifError(f"Pillow cannot write AVIF: {error}") from error
    return strip(file.getvalue(), width=image.width, height=image.height, mono=mono)


def _file(stream: Bitstream) -> bytes:
    """The AVIF file in a stream."""
    return restore(stream.y, width=stream.width, height=stream.height, mono=stream.greyscale)


def _decode(file: bytes, stream: Bitstream) -> NDArray[np.uint8]:
    try:
        # Not by Image.open, whose limit against decompression bombs is the process's: the size was checked, and `restore` wrote it itself.
        with AvifImageFile(io.BytesIO(file)) as image:
            if image.size != (stream.width, stream.height):
                raise DamagedStreamError("the AV1 frame is not of the picture's size")
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except (DamagedStreamError, MemoryError):
        raise
    except Exception as error:  # Pillow may raise anything on hostile bytes
        raise DamagedStreamError("the AV1 frame cannot be decoded") from error

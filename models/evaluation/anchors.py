"""The codecs to compare with: JPEG, WebP, AVIF, JPEG XL and HEIC by Pillow, VVC by ffmpeg.

They are measured at slow settings, in real bytes of whole files. AVIF is measured in four variants,
because its settings trade the metrics against each other: 4:2:0 and 4:4:4, each with libavif's
default tuning (perceptual: byte for byte that of `tune=iq`, with libavif 1.4.2 and aom 3.14.1) and
with `tune=psnr`. HEIC is x265 in 4:4:4, what BPG is inside, with x265's default tuning (for SSIM)
and with `tune=psnr`.

Encoders run in one thread and without automatic tiles, because streams of aom and x265 depend on
both. So streams are the same on every machine, and AVIF's 0.4 % smaller (kodim19, quality 35).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import pillow_heif
import pillow_jxl  # noqa: F401  # tells Pillow of JPEG XL
from PIL import Image, features

from models.evaluation import vvc
from models.picture import Picture

pillow_heif.register_heif_opener()


@dataclass(frozen=True, slots=True)
class Anchor:
    """One codec with all its settings but the quality.

    Attributes:
        name: for tables and plots, such as "avif-444-psnr".
        family: what the command line calls it: "avif", "webp", "jpeg", "jxl", "heic" or "vvc".
        format: Pillow's name of the file format.
        library: Pillow's name of the library, or the package that has it, for its version.
        qualities: settings that span about 0.03 to 1 bits per pixel on photographs.
        judged: the settings among them at which judges are asked too.
        options: given to `Image.save`.
    """

    name: str
    family: str
    format: str
    library: str
    qualities: tuple[int, ...]
    judged: tuple[int, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Name the library and its version, with which bytes may change."""
        return f"{self.library} {version(self.library) if self._packaged else features.version(self.library)}"

    @property
    def available(self) -> bool:
        """Say if this build of Pillow can write it."""
        return self._packaged or bool(features.check(self.library))

    @property
    def _packaged(self) -> bool:
        return self.library.startswith(("pillow-", "imageio-"))

    def encode(self, picture: Picture, quality: int) -> bytes:
        """Encode a picture to a whole file."""
        stream = io.BytesIO()
        picture.to_image().save(stream, self.format, quality=quality, **self.options)
        return stream.getvalue()

    def decode(self, data: bytes) -> Picture:
        """Decode a file to what a viewer would show."""
        with Image.open(io.BytesIO(data)) as image:
            return Picture.from_image(image.convert("RGB"))


@dataclass(frozen=True, slots=True)
class VvcAnchor(Anchor):
    """VVC intra; its quality is 63 - QP, and no better than that of QP 0."""

    def encode(self, picture: Picture, quality: int) -> bytes:
        """Encode a picture to a whole file."""
        return vvc.encode(picture, max(0, vvc.COARSEST_QP - quality))

    def decode(self, data: bytes) -> Picture:
        """Decode a file to what a viewer would show."""
        return vvc.decode(data)


def _avif(subsampling: str, tune: str | None) -> Anchor:
    options: dict[str, object] = {
        "subsampling": subsampling,
        "speed": 4,
        "codec": "aom",
        "max_threads": 1,
        "autotiling": False,
    }
    if tune:
        options["advanced"] = {"tune": tune}
    return Anchor(
        name=f"avif-{subsampling.replace(':', '')}" + (f"-{tune}" if tune else ""),
        family="avif",
        format="AVIF",
        library="avif",
        qualities=(0, 14, 21, 29, 37, 46, 56),
        judged=(0, 14, 29, 46, 56),
        options=options,
    )


def _heic(tune: str | None) -> Anchor:
    encoder = {"preset": "placebo", "x265:pools": "none", "x265:frame-threads": "1"}
    if tune:
        encoder["tune"] = tune
    qualities = (0, 6, 12, 19, 26, 34, 42) if tune else (0, 8, 16, 24, 32, 40, 48)
    return Anchor(
        name="heic-444" + (f"-{tune}" if tune else ""),
        family="heic",
        format="HEIF",
        library="pillow-heif",
        qualities=qualities,
        judged=() if tune else qualities,
        options={"subsampling": "4:4:4", "enc_params": encoder},
    )


ANCHORS = (
    Anchor(
        name="jpeg",
        family="jpeg",
        format="JPEG",
        library="libjpeg_turbo",
        qualities=(1, 4, 8, 13, 20, 32, 48, 65, 82),
        judged=(1, 8, 20, 48, 65),
        options={"optimize": True, "progressive": True, "subsampling": "4:2:0"},
    ),
    Anchor(
        name="webp",
        family="webp",
        format="WEBP",
        library="webp",
        qualities=(0, 1, 3, 8, 18, 35, 55, 75, 86),
        judged=(0, 3, 18, 55, 86),
        options={"method": 6},
    ),
    *(_avif(subsampling, tune) for subsampling in ("4:2:0", "4:4:4") for tune in (None, "psnr")),
    Anchor(
        name="jxl",
        family="jxl",
        format="JXL",
        library="pillow-jxl-plugin",
        qualities=(0, 5, 12, 25, 45, 65, 80),
        judged=(0, 5, 12, 25, 45, 65, 80),
        options={"effort": 9, "num_threads": 0},
    ),
    _heic(None),
    _heic("psnr"),
    VvcAnchor(
        name="vvc-420",
        family="vvc",
        format="VVC",
        library="imageio-ffmpeg",
        qualities=(11, 16, 21, 26, 31, 36),
        judged=(11, 16, 21, 26, 31, 36),
    ),
)
FAMILIES = tuple(dict.fromkeys(anchor.family for anchor in ANCHORS))


def of_families(names: tuple[str, ...]) -> tuple[Anchor, ...]:
    """Find anchors by the names of families or of single ones, in the order of ANCHORS.

    Args:
        names: such as "avif", which is all its variants, or "avif-444-psnr".

    Raises:
        ValueError: for an unknown name, or one that this build of Pillow cannot write.
    """
    for name in names:
        if name not in FAMILIES and name not in {anchor.name for anchor in ANCHORS}:
            raise ValueError(f"unknown codec {name!r}; known are {', '.join(FAMILIES)}")
    chosen = tuple(anchor for anchor in ANCHORS if anchor.family in names or anchor.name in names)
    for anchor in chosen:
        if not anchor.available:
            raise ValueError(f"this build of Pillow lacks {anchor.library}, which {anchor.name} needs")
    return chosen

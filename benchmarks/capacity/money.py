"""Money: what a million images cost to compress, to keep and to send, beside AVIF and JPEG.

Bytes of the others are those of equal quality: ours over 1 plus the BD-rate that
`ziggurat evaluate` last wrote, which may be a loss. So they are of the models named in the same
files, and change with them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.capacity.inputs import Costs, Inputs, Machine

EVALUATION = Path(__file__).parents[2] / "models" / "evaluation" / "results"
SEVEN = ("ms-ssim-y", "vifp", "fsimc", "nlpd", "iw-ssim", "vmaf", "psnr-hvs")  # of JPEG AI
FOREVER = math.inf


@dataclass(frozen=True, slots=True)
class Saving:
    """Bits that ours need against another codec's at equal quality.

    Attributes:
        pictures: the set.
        profile: ours.
        model: its id.
        anchor: the other codec.
        metric: of quality.
        percent: more bits, or fewer (negative).
    """

    pictures: str
    profile: str
    model: str
    anchor: str
    metric: str
    percent: float

    @property
    def anchor_bytes(self) -> float:
        """The other codec's bytes over ours."""
        return 1 / (1 + self.percent / 100)


def savings(file: str = "kodak.json") -> list[Saving]:
    """Read a report's BD-rates, and the mean of JPEG AI's seven metrics where it has them all."""
    report = json.loads((EVALUATION / file).read_text())
    found: list[Saving] = []
    for each in report["comparisons"]:
        if each["bd"] is not None:
            model = report["versions"][each["codec"]].removeprefix("model ")
            profile = each["codec"].removeprefix("ziggurat-")
            percent = each["bd"]["percent"]
            found.append(Saving(report["name"], profile, model, each["anchor"], each["metric"], percent))
    pairs = dict.fromkeys((each.profile, each.model, each.anchor) for each in found)
    for profile, model, anchor in pairs:
        of_seven = [
            each.percent
            for each in found
            if (each.profile, each.anchor) == (profile, anchor) and each.metric in SEVEN
        ]
        if len(of_seven) == len(SEVEN):
            mean = sum(of_seven) / len(of_seven)
            found.append(Saving(report["name"], profile, model, anchor, "mean of seven", mean))
    return found


def chosen(kodak: Sequence[Saving], looks: Sequence[Saving], photos: Sequence[Saving]) -> list[Saving]:
    """Choose what the page shows: each profile by its own metric, and by others that disagree."""
    rows = [
        ("avif-444", kodak, "visual", "ssimulacra2"),
        ("avif-444", kodak, "visual", "vmaf-neg"),
        ("avif-444", looks, "visual", "mean of seven"),
        ("jpeg", kodak, "visual", "ssimulacra2"),
        ("jpeg", kodak, "visual", "vmaf-neg"),
        ("avif-444", kodak, "ms-ssim", "ms-ssim"),
        ("jpeg", kodak, "ms-ssim", "ms-ssim"),
        ("avif-444", kodak, "psnr", "psnr"),
        ("avif-444-psnr", kodak, "psnr", "psnr"),
        ("avif-444", kodak, "psnr", "ssimulacra2"),
        ("avif-444", looks, "psnr", "mean of seven"),
        ("jpeg", kodak, "psnr", "psnr"),
        ("jpeg", kodak, "psnr", "ssimulacra2"),
        ("avif-420", photos, "visual", "ssimulacra2"),
        ("jpeg", photos, "visual", "ssimulacra2"),
        ("avif-420", photos, "ms-ssim", "ms-ssim"),
        ("avif-420", photos, "psnr", "psnr"),
        ("jpeg", photos, "psnr", "psnr"),
    ]
    return [
        next(each for each in of if (each.anchor, each.profile, each.metric) == (anchor, profile, metric))
        for anchor, of, profile, metric in rows
    ]


@dataclass(frozen=True, slots=True)
class Coder:
    """What a codec takes for an image, by the service on one machine without a GPU.

    Attributes:
        name: for tables.
        seconds: of a core.
        dollars: a million images, at the utilisation that machines are bought for.
        joules: an image, of the processor alone.
    """

    name: str
    seconds: float
    dollars: float
    joules: float


def coders(given: Inputs, measured: Costs, machine: Machine, mp: float) -> dict[str, Coder]:
    """Price codecs on the cores of a machine, by name.

    Each has the service's own time for a picture; JPEG's and AVIF's megapixels cost what they were
    measured to, ours what the service as a whole was.
    """
    spent, kind = measured.spent, machine.kind
    own = kind.batch + kind.request
    ours = kind.lane_seconds(mp)
    # Compressing is measured as the codec alone and as the service; decoding has the same ratio.
    dearer = (ours - own) / mp / spent["psnr encode, s/MP"]
    seconds = {
        "ziggurat encode": ours,
        "ziggurat decode": own + mp * dearer * spent["psnr decode, s/MP"],
        "AVIF speed 4 encode": own + mp * spent["avif speed 4 encode, s/MP"],
        "AVIF speed 6 encode": own + mp * spent["avif speed 6 encode, s/MP"],
        "AVIF decode": own + mp * spent["avif decode, s/MP"],
        "JPEG encode": own + mp * spent["jpeg encode, s/MP"],
        "JPEG decode": own + mp * spent["jpeg decode, s/MP"],
    }
    a_second = machine.dollars / 3600 / machine.vcpus
    return {
        name: Coder(name, took, 1e6 * took * a_second / given.planned_load, took * given.watts_per_vcpu)
        for name, took in seconds.items()
    }


@dataclass(frozen=True, slots=True)
class Balance:
    """A million images of ours beside as many of another codec at equal quality, in dollars.

    Attributes:
        saving: of bits.
        ours_gb: that ours take.
        other_gb: that the other's take.
        encode: that ours cost more to make.
        month: that ours save in storage a month.
        download: that ours save in traffic whenever each is sent once, decoded by whoever gets it.
    """

    saving: Saving
    ours_gb: float
    other_gb: float
    encode: float
    month: float
    download: float

    @property
    def months(self) -> float:
        """Months of storage that pay for the encode; negative: that use up what it saved."""
        return recovery(self.encode, self.month)

    @property
    def downloads(self) -> float:
        """Downloads of each image that pay for the encode; negative likewise."""
        return recovery(self.encode, self.download)


def recovery(extra: float, saved: float) -> float:
    """Find after how many periods an extra cost is saved.

    Returns:
        0 when it never costs more, infinity when it is never saved, and a negative number when a
        gain at the beginning is lost after so many.
    """
    if extra <= 0:
        return 0.0 if saved >= 0 else extra / -saved
    return extra / saved if saved > 0 else FOREVER


def balance(given: Inputs, saving: Saving, prices: dict[str, Coder], mp: float) -> Balance:
    """Compare a million images; AVIF is made at speed 4, which its bits are of."""
    ours = given.bpp * mp / 8 * 1e3  # GB of a million images
    other = ours * saving.anchor_bytes
    made = prices["JPEG encode" if saving.anchor == "jpeg" else "AVIF speed 4 encode"]
    return Balance(
        saving,
        ours,
        other,
        prices["ziggurat encode"].dollars - made.dollars,
        (other - ours) * given.storage_dollars,
        (other - ours) * given.egress_dollars,
    )

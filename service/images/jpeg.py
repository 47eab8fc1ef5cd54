"""JPEG (ITU-T T.81): its segments and scans, and its samples.

libjpeg puts up with nearly everything. It fills what is missing with grey, and passes over what is
too much, and Pillow tells of neither. Here the decoder is fed piece by piece, up to the end of each
run of coded data: what it has taken by then says whether the data were enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from models.metadata import Metadata

from .colour import Colour
from .errors import DamagedImageError, UnsupportedVariantError
from .facts import Coded, Facts, Header
from .orientation import of_exif

MAX_SCANS = 100  # as in libtiff; each costs a pass over the whole picture, and encoders make ten
MAX_SEGMENTS = 10_000
_MAX_RUNS = 20_000  # of data between restart markers, that are looked at one by one

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_DHT, _DQT, _DNL, _DRI, _DHP, _DAC, _COM = 0xC4, 0xDB, 0xDC, 0xDD, 0xDE, 0xCC, 0xFE
_APP1, _APP2, _APP14 = 0xE1, 0xE2, 0xEE
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_VARIANTS = {
    0xC3: "lossless coding",
    0xC5: "hierarchical coding",
    0xC6: "hierarchical coding",
    0xC7: "hierarchical coding",
    _DHP: "hierarchical coding",
    0xC9: "arithmetic coding",
    0xCA: "arithmetic coding",
    0xCB: "lossless arithmetic coding",
    _DAC: "arithmetic coding",
    0xCD: "hierarchical coding",
    0xCE: "hierarchical coding",
    0xCF: "hierarchical coding",
    0xF7: "JPEG-LS coding",
    _DNL: "its height behind the picture (DNL)",
}
_DECODED = (_DHT, _DQT, _DRI, _BASELINE, _EXTENDED, _PROGRESSIVE, 0xE0, _APP14)  # what libjpeg looks at
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_IPTC = b"8BIM\x04\x04"  # begins the resource of Photoshop's that has it
# None that restarts coded data. Fill bytes before it are left out: to match them takes time in the
# square of their number.
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
# The same with its fill bytes, where they begin at once: passes over them in a tenth of the time.
_FILLED_MARKER = re.compile(rb"\xff++([\x01-\xcf\xd8-\xfe])")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")

# No code is made of ones only, so that few blocks, if any, come out of this.
_FILLER = b"\xfe" * 8  # as much as the decoder wants to look ahead

# A picture that is whole without the last bytes of its data has too many of them. Some encoders
# write a few for padding.
_HELD_BACK = 4

_TRUNCATED = "the JPEG image's data end early: a part of the picture is missing"
_SUPERFLUOUS = "the JPEG image's data are corrupt: some are left over behind the picture"
_INCOMPLETE = "the progressive JPEG image lacks its last scans: the picture is coarser than it was"
_LENGTH = "the JPEG image has a corrupt number of restart intervals"


@dataclass(slots=True)
class _Parts:
    """Parts of a file, up to its first end-of-image marker.

    Attributes:
        kept: start and end of all that the decoder is to see.
        data: start and end of the coded data of each scan.
        frame: content of the start-of-frame segment.
        process: its marker.
        scans: content of each start-of-scan segment.
        ended: there is an end-of-image marker.
        exif: first block of Exif.
        xmp: first packet of XMP. What extends it in further segments is not read.
        iptc: there is a caption by IPTC-IIM.
        profile: parts of an ICC profile, by their number.
        profile_parts: how many there are to be.
        adobe: there is a segment of Adobe's, which says that CMYK is inverted.
        restart_interval: MCUs (units of all components) between restart markers; 0 without them.
    """

    kept: list[tuple[int, int]] = field(default_factory=list)
    data: list[tuple[int, int]] = field(default_factory=list)
    frame: bytes = b""
    process: int = 0
    scans: list[bytes] = field(default_factory=list)
    ended: bool = False
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bool = False
    profile: dict[int, bytes] = field(default_factory=dict)
    profile_parts: int = 0
    adobe: bool = False
    restart_interval: int = 0


def read(file: bytes) -> Facts:
    """The facts of a JPEG file. Of several pictures, as phones write them, the first counts.

    Raises:
        DamagedImageError: a segment is missing or broken, or there are too many scans.
        UnsupportedVariantError: other samples than 8 bits, or other codings than Huffman's.
    """
    parts = _parts(file)
    frame = parts.frame
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5] or not parts.scans:
        raise DamagedImageError("the JPEG image is truncated or corrupt in its header")
    bits, components = frame[0], frame[5]
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if bits != 8:
        raise UnsupportedVariantError("JPEG", f"{bits}-bit samples")
    if height == 0:
        raise UnsupportedVariantError("JPEG", _VARIANTS[_DNL])
    if components not in (1, 3, 4):
        raise UnsupportedVariantError("JPEG", f"{components} components")
    if width == 0:
        raise DamagedImageError("the JPEG image has no columns")
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[components]
    return Facts(
        Header("JPEG", width, height),
        lambda: _decode(file, parts, mode, (width, height)),
        orientation=of_exif(parts.exif or b""),
        colour=Colour(_profile(parts)),
        on_screen=components != 4,
        metadata=Metadata(parts.exif, parts.xmp),
        iptc=parts.iptc,
    )


def _parts(file: bytes) -> _Parts:
    parts = _Parts()
    for marker, start, content, end in _segments(file, parts):
        if marker in _VARIANTS and not (marker == _DNL and parts.frame[1:3] != b"\0\0"):
            raise UnsupportedVariantError("JPEG", _VARIANTS[marker])
        segment = file[content:end]
        if marker in _DECODED or marker == _SOS:
            parts.kept.append((start, end))
        match marker:
            case 0xC0 | 0xC1 | 0xC2:
                if parts.frame:
                    raise DamagedImageError("the JPEG image has two frames")
                parts.frame, parts.process = segment, marker
            case 0xDA:
                parts.scans.append(segment)
                if len(parts.scans) > MAX_SCANS:
                    raise DamagedImageError(f"the JPEG image has too many scans: over {MAX_SCANS}")
            case 0xDD if len(segment) == 2:
                parts.restart_interval = int.from_bytes(segment, "big")
            case 0xE1 if segment.startswith(b"Exif\0\0"):
                parts.exif = parts.exif or segment
            case 0xE1 if segment.startswith(_XMP):
                parts.xmp = parts.xmp or segment.removeprefix(_XMP)
            case 0xED if segment.startswith(b"Photoshop 3.0\0"):
                parts.iptc = parts.iptc or _IPTC in segment
            case 0xE2 if segment.startswith(b"ICC_PROFILE\0") and len(segment) > 14:
                parts.profile.setdefault(segment[12], segment[14:])
                parts.profile_parts = segment[13]
            case 0xEE if segment.startswith(b"Adobe") and len(segment) >= 12:
                parts.adobe = True
    return parts


def _segments(file: bytes, parts: _Parts) -> Iterator[tuple[int, int, int, int]]:
    """Marker, start, start of the content, and end of each segment; scans' data go into `parts`.

    Raises `DamagedImageError` for too many, or one that is cut off before the first scan.
    """
    at = 2
    for _ in range(MAX_SEGMENTS):
        # Between segments decoders pass over anything but a marker.
        found = _FILLED_MARKER.match(file, at) or _MARKER.search(file, at)
        if found is None:
            return
        marker, start = found[1][0], found.end() - 2
        if marker == _EOI:
            parts.ended = True
            return
        if marker in (_SOI, 0x01):
            at = found.end()
            continue
        content = found.end() + 2
        end = found.end() + int.from_bytes(file[found.end() : content], "big")
        if end < content or end > len(file):
            if not parts.scans:
                raise DamagedImageError("the JPEG image is truncated or corrupt in its header")
            return
        yield marker, start, content, end
        at = end
        if marker == _SOS:
            following = _MARKER.search(file, at)
            at = len(file) if following is None else following.start()
            coded = (end, _without_fill(file, end, at))
            parts.data.append(coded)
            parts.kept.append(coded)
    raise DamagedImageError("the JPEG image has too many parts")


def _without_fill(file: bytes, start: int, end: int) -> int:
    """The end of coded data without the bytes that may fill up the space before a marker.

    A coded 0xFF is followed by 0.
    """
    return start + len(file[start:end].rstrip(b"\xff"))


def _profile(parts: _Parts) -> bytes | None:
    numbers = range(1, parts.profile_parts + 1)
    whole = all(number in parts.profile for number in numbers)
    return b"".join(parts.profile[number] for number in numbers) if whole else None


def _decode(file: bytes, parts: _Parts, mode: str, size: tuple[int, int]) -> Coded:
    # Without Adobe's segment nothing says that CMYK is inverted.
    raw_mode = "CMYK;I" if parts.adobe and mode == "CMYK" else mode
    image, enough, superfluous = _fed(file, parts, mode, raw_mode, size, checked=True)
    if not enough:
        if not parts.ended:
            raise DamagedImageError("the JPEG image is truncated or corrupt: its data end early")
        # What the filler gave is no part of the picture.
        image, _, _ = _fed(file, parts, mode, raw_mode, size, checked=False)
    found = {
        _TRUNCATED: not enough,
        _SUPERFLUOUS: superfluous,
        _INCOMPLETE: parts.process == _PROGRESSIVE and not _complete(parts),
        _LENGTH: not _restarts_as_told(file, parts, size),
    }
    if found[_INCOMPLETE] and not parts.ended:
        raise DamagedImageError("the JPEG image is truncated or corrupt: its last scans are missing")
    return Coded(image, tuple(text for text, holds in found.items() if holds))


def _fed(
    file: bytes, parts: _Parts, mode: str, raw_mode: str, size: tuple[int, int], *, checked: bool
) -> tuple[Image.Image, bool, bool]:
    """The image; whether the data were enough for it, and whether some were left over.

    Raises OSError for what libjpeg does not put up with.
    """
    image = Image.new(mode, size)
    last_row = (0, size[1] - 1, *size)
    # Noise in the last row tells when it is written.
    noise = np.random.default_rng(0).integers(0, 256, (1, size[0], len(mode)), np.uint8)
    image.paste(Image.frombytes(mode, (size[0], 1), noise.tobytes()), last_row)
    unwritten = image.crop(last_row).tobytes()
    decoder = Image._getdecoder(mode, "jpeg", (raw_mode, ""), ())
    decoder.setimage(image.im, (0, 0, *size))
    waiting = b""
    done = False

    def feed(piece: bytes) -> None:
        nonlocal waiting, done
        if done:
            return
        waiting += piece
        taken, fault = decoder.decode(waiting)
        if fault < 0:
            raise OSError("its data cannot be decoded")
        done = taken < 0
        waiting = b"" if done else waiting[taken:]

    enough = True
    superfluous = False
    ends = {end for _, end in parts.data}
    feed(b"\xff\xd8")
    for start, end in parts.kept:
        if end not in ends or not checked:
            feed(file[start:end])
            continue
        for run_start, run_end in _runs(file, start, end):
            held_back = max(run_start, run_end - _HELD_BACK)
            feed(file[run_start:held_back])
            if run_end == end and len(parts.scans) == 1:
                superfluous = done or image.crop(last_row).tobytes() != unwritten
            feed(file[held_back:run_end])
            feed(_FILLER)
            # Too much is passed over in search of a marker; after too little the decoder waits.
            enough = enough and not waiting
    feed(b"\xff\xd9")
    if not done:
        raise OSError("its data end early")
    return image, enough, superfluous


def _runs(file: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Coded data between restart markers; each but the first begins with one and its fill."""
    at = start
    for count, found in enumerate(_RESTART.finditer(file, start, end)):
        if count == _MAX_RUNS:
            break
        run_end = _without_fill(file, at, found.start())
        yield at, run_end
        at = run_end
    yield at, end


def _complete(parts: _Parts) -> bool:
    """Say whether the scans code all bits of all coefficients of each component."""
    identifiers = parts.frame[6 : 6 + 3 * parts.frame[5] : 3]
    missing = {(identifier, index) for identifier in identifiers for index in range(64)}
    for scan in parts.scans:
        count = scan[0] if scan else 0
        components, rest = scan[1 : 1 + 2 * count : 2], scan[1 + 2 * count :]
        if len(rest) == 3 and rest[2] & 15 == 0:
            missing -= {(one, index) for one in components for index in range(rest[0], min(rest[1], 63) + 1)}
    return not missing


def _restarts_as_told(file: bytes, parts: _Parts, size: tuple[int, int]) -> bool:
    """Say whether a picture of one scan has its interval's restart markers, in order."""
    components = parts.frame[5]
    if not parts.restart_interval or len(parts.scans) > 1 or components == 1:
        return True
    factors = parts.frame[7 : 6 + 3 * components : 3]
    across, down = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    if not (across and down):
        return True
    units = -(-size[0] // (8 * across)) * -(-size[1] // (8 * down))
    start, end = parts.data[0]
    numbers = b"".join(_RESTART.findall(file, start, end))[1::2]
    expected = -(-units // parts.restart_interval) - 1
    return len(numbers) == expected and numbers == (bytes(range(0xD0, 0xD8)) * (expected // 8 + 1))[:expected]

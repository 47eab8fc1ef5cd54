"""VVC intra (ITU-T H.266), by the libvvenc and the decoder in the ffmpeg of imageio-ffmpeg.

VVenC's preset `slow` without its perceptual adaptation, as VTM codes: 4:2:0 in ten bits, which is
all that VVenC knows. VTM, whose figures are published, codes 4:4:4 and searches longer.
"""

from __future__ import annotations

import struct
import subprocess

import numpy as np

from models.picture import Picture

PRESET = "slow"
COARSEST_QP = 63
SIZE = struct.Struct(">HH")  # width and height before the bitstream, which has even sides only

_FLAGS = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
_TO_YUV = f"scale=out_color_matrix=bt709:out_range=tv:{_FLAGS},format=yuv420p10le"
_TO_RGB = f"scale=in_color_matrix=bt709:in_range=tv:{_FLAGS},format=rgb24"


def encode(picture: Picture, qp: int) -> bytes:
    """Encode a picture in one thread: its size in four bytes, and a raw bitstream.

    Args:
        picture: RGB; odd sides are made even by repeating the last row and column.
        qp: 0 (finest) to 63.

    Raises:
        subprocess.CalledProcessError: ffmpeg fails.
    """
    height, width = picture.rgb.shape[:2]
    even = np.pad(picture.rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    size = f"{even.shape[1]}x{even.shape[0]}"
    source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-i", "-", "-vf", _TO_YUV)
    codec = ("-c:v", "libvvenc", "-preset", PRESET, "-qp", str(qp), "-qpa", "0", "-threads", "1")
    return SIZE.pack(width, height) + _ffmpeg(even.tobytes(), *source, *codec, "-f", "vvc", "-")


def decode(file: bytes) -> Picture:
    """Decode what `encode` made."""
    width, height = SIZE.unpack_from(file)
    pixels = _ffmpeg(file[SIZE.size :], "-f", "vvc", "-i", "-", "-vf", _TO_RGB, "-f", "rawvideo", "-")
    shape = (height + height % 2, width + width % 2, 3)
    return Picture.from_array(np.frombuffer(pixels, np.uint8).reshape(shape)[:height, :width].copy())


def _ffmpeg(given: bytes, *arguments: str) -> bytes:
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-v", "error", "-filter_threads", "1", *arguments]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout

"""VMAF (Netflix), by the libvmaf in the ffmpeg of the package imageio-ffmpeg.

It predicts how viewers rate what they see on a television, 0 to 100. Only luma counts. VMAF NEG
(2020) gives nothing for contrast or sharpness beyond the original's, so that no codec gains by it.
"""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

DEFAULT = "vmaf_v0.6.1"
NEG = "vmaf_v0.6.1neg"


def available() -> bool:
    """Say if the package with ffmpeg in it is installed."""
    return find_spec("imageio_ffmpeg") is not None


def vmaf_neg(decoded: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    """Score a picture in [0, 100] by VMAF NEG, on 8-bit luma of a television's range.

    Args:
        decoded: (H, W, 3), sRGB, sides of at least 16 pixels.
        original: the same size.

    Raises:
        subprocess.CalledProcessError: ffmpeg fails.
    """
    to_luma = (
        "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bitexact,format=yuv444p"
    )
    return _score(decoded.tobytes(), original.tobytes(), original.shape[:2], "rgb24", to_luma, NEG)


def vmaf(decoded: NDArray[np.uint16], original: NDArray[np.uint16]) -> float:
    """Score a picture in [0, 100] by VMAF's default model, as JPEG AI does.

    Args:
        decoded: (H, W), luma in 0..1023, sides of at least 16 pixels.
        original: the same size.

    Raises:
        subprocess.CalledProcessError: ffmpeg fails.
    """
    return _score(_planes(decoded), _planes(original), original.shape, "yuv444p10le", "null", DEFAULT)


def _planes(luma: NDArray[np.uint16]) -> bytes:
    """Append two grey planes to a luma plane: libvmaf takes no picture without."""
    return luma.astype("<u2").tobytes() + np.full((2, *luma.shape), 512, "<u2").tobytes()


def _score(
    decoded: bytes, original: bytes, size: tuple[int, ...], pixels: str, prepare: str, model: str
) -> float:
    """Let ffmpeg compare two raw pictures of (H, W) in one of its pixel formats."""
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width = size
    compare = f"libvmaf=model=version={model}:n_threads=1:log_fmt=json:log_path=vmaf.json"
    graph = f"[0:v]{prepare}[d];[1:v]{prepare}[r];[d][r]{compare}"
    with TemporaryDirectory() as folder:
        command = [get_ffmpeg_exe(), "-v", "error", "-filter_threads", "1"]
        for name, picture in (("decoded", decoded), ("original", original)):
            (Path(folder) / name).write_bytes(picture)
            command += ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{width}x{height}", "-i", name]
        command += ["-lavfi", graph, "-f", "null", "-"]
        subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
        document = json.loads((Path(folder) / "vmaf.json").read_text())
        return float(document["pooled_metrics"]["vmaf"]["mean"])

"""VMAF NEG (Netflix, 2020), by the ffmpeg in the package imageio-ffmpeg.

It predicts how viewers rate what they see on a television, 0 to 100. NEG gives nothing for contrast
or sharpness beyond the original's, so that no codec gains by it. Only luma counts.
"""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

MODEL = "vmaf_v0.6.1neg"


def available() -> bool:
    """Say if the package with ffmpeg in it is installed."""
    return find_spec("imageio_ffmpeg") is not None


def vmaf(decoded: NDArray[np.uint8], original: NDArray[np.uint8]) -> float:
    """Score a picture in [0, 100].

    Args:
        decoded: (H, W, 3), sRGB, sides of at least 16 pixels.
        original: the same size.

    Raises:
        subprocess.CalledProcessError: ffmpeg fails.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width = original.shape[:2]
    to_luma = (
        "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int+bitexact,format=yuv444p"
    )
    compare = f"libvmaf=model=version={MODEL}:n_threads=1:log_fmt=json:log_path=vmaf.json"
    graph = f"[0:v]{to_luma}[d];[1:v]{to_luma}[r];[d][r]{compare}"
    with TemporaryDirectory() as folder:
        command = [get_ffmpeg_exe(), "-v", "error", "-filter_threads", "1"]
        for name, rgb in (("decoded", decoded), ("original", original)):
            (Path(folder) / name).write_bytes(rgb.tobytes())
            command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-i", name]
        command += ["-lavfi", graph, "-f", "null", "-"]
        subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
        document = json.loads((Path(folder) / "vmaf.json").read_text())
        return float(document["pooled_metrics"]["vmaf"]["mean"])

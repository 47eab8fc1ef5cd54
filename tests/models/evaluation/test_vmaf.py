"""VMAF follows what an eye sees, VMAF NEG gives nothing for sharpening, and both are libvmaf's."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from models.evaluation.judges import Pair
from models.evaluation.vmaf import vmaf, vmaf_neg


def test_scores_rise_with_quality_and_not_with_sharpness(photo: Image.Image) -> None:
    large = photo.resize((256, 192), Image.Resampling.LANCZOS)
    original = np.array(large)

    def score(image: Image.Image) -> float:
        return vmaf_neg(np.array(image), original)

    same = score(large)
    scores = [score(large.filter(ImageFilter.GaussianBlur(radius))) for radius in (4, 2, 1)]
    assert scores == sorted(scores)
    assert scores[-1] < same <= 100
    assert same > 90
    assert score(large.filter(ImageFilter.UnsharpMask(2, 150, 0))) <= same


def test_the_default_model_is_that_of_libvmaf_called_by_hand(photo: Image.Image, tmp_path: Path) -> None:
    """By hand: ten-bit planes in files, ffmpeg's own score line, no model named."""
    from imageio_ffmpeg import get_ffmpeg_exe

    original = photo.resize((256, 192), Image.Resampling.LANCZOS)
    decoded = original.filter(ImageFilter.GaussianBlur(1))
    inputs: list[str] = []
    planes = []
    for name, image in (("decoded.yuv", decoded), ("original.yuv", original)):
        linear = np.array(image) @ np.array([0.2126, 0.7152, 0.0722])
        planes.append(np.rint(linear * 1023 / 255).astype(np.uint16))
        raw = np.concatenate([planes[-1].ravel(), np.full(2 * 256 * 192, 512)]).astype("<u2")
        (tmp_path / name).write_bytes(raw.tobytes())
        inputs += ["-f", "rawvideo", "-pix_fmt", "yuv444p10le", "-s", "256x192", "-i", str(tmp_path / name)]
    command = [get_ffmpeg_exe(), "-hide_banner", *inputs, "-lavfi", "libvmaf", "-f", "null", "-"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    by_hand = re.search(r"VMAF score: ([0-9.]+)", printed)
    assert by_hand is not None
    score = vmaf(*planes)
    assert abs(score - float(by_hand[1])) < 1e-3
    y_hat, y = Pair(np.array(decoded), np.array(original)).luma
    assert np.array_equal(np.rint(y_hat[0, 0].numpy() * 1023), planes[0])
    assert np.array_equal(np.rint(y[0, 0].numpy() * 1023), planes[1])
    assert vmaf(planes[1], planes[1]) > score

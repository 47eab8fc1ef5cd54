"""A picture has the same score whole and in strips."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.metrics import ms_ssim, psnr, score, strips
from models.metrics.ssimulacra2 import ssimulacra2
from models.progress import Progress
from models.tensors import to_batch


@pytest.mark.parametrize("size", [(8, 90), (161, 203), (176, 90), (171, 96)])
def test_a_picture_scored_in_strips_has_the_score_of_the_whole(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pauses(Progress):
        count = 0

        def pause(self) -> None:
            self.count += 1

    height, width = size
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3)).astype(np.uint8)
    original = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
    decoded = (original // 2 + rng.integers(0, 100, original.shape)).astype(np.uint8)
    device = torch.device("cpu")
    batches = [to_batch([pixels], device) for pixels in (decoded, original)]
    expected = {
        "psnr": float(psnr(*batches)),
        "ms-ssim": float(ms_ssim(*batches)),
        "ssimulacra2": float(ssimulacra2(*batches)),
    }
    progress = Pauses()
    monkeypatch.setattr(strips, "STRIP_PIXELS", 1000)

    assert score(decoded, original, "psnr", device, progress) == pytest.approx(expected["psnr"], abs=1e-4)
    in_strips = score(decoded, original, "ms-ssim", device, progress)
    assert in_strips == pytest.approx(expected["ms-ssim"], abs=1e-6)
    assert progress.count > 2 * height * width / 1000 - 2 or height < 11
    by_rows = score(decoded, original, "ssimulacra2", device, progress)
    assert by_rows == pytest.approx(expected["ssimulacra2"], abs=1e-3)

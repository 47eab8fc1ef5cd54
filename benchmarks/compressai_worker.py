"""The process that `benchmarks.speed` times CompressAI in; it runs in an environment of its own.

    python compressai_worker.py FILE...

It loads `mbt2018-mean` with weights that nobody trained. For every line that it reads it encodes
and decodes all files, and writes a line of JSON: seconds per picture. It imports nothing of this
repository.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import types

# CompressAI lists the names of torchvision's transforms and uses none. An empty module does: the
# one from the package index is built for CUDA, and does not load beside a torch without.
transforms = types.ModuleType("torchvision.transforms")
torchvision = types.ModuleType("torchvision")
torchvision.transforms = transforms  # type: ignore[attr-defined]
sys.modules |= {"torchvision": torchvision, "torchvision.transforms": transforms}

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

QUALITY = 2  # its published Kodak rates are 0.11 bpp at 1 and 0.18 at 2; the network is the same
MULTIPLE = 64  # pixels, of the sides of its pictures


def read(path: str) -> torch.Tensor:
    """Read a picture as (1, 3, H, W) in [0, 1], its borders repeated up to whole blocks."""
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    height, width, _ = pixels.shape
    pixels = np.pad(pixels, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), mode="edge")
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def main() -> None:
    """Answer every line of standard input by a line of JSON."""
    models = importlib.import_module("compressai.zoo").models

    torch.manual_seed(0)
    model = models["mbt2018-mean"](quality=QUALITY).eval()
    model.update()
    pictures = [read(path) for path in sys.argv[1:]]
    for _ in sys.stdin:
        with torch.inference_mode():
            begun = time.perf_counter()
            coded = [model.compress(picture) for picture in pictures]
            encoded = time.perf_counter()
            for stream in coded:
                model.decompress(stream["strings"], stream["shape"])
            decoded = time.perf_counter()
        seconds = {"compressai encode": encoded - begun, "compressai decode": decoded - encoded}
        print(json.dumps({name: taken / len(pictures) for name, taken in seconds.items()}), flush=True)


if __name__ == "__main__":
    main()

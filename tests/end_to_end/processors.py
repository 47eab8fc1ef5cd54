"""Streams on one processor: a program, so that each run can be on another processor.

    python -m tests.end_to_end.processors FOLDER OUTPUT

It decodes every stream of one folder to pictures in another, and encodes some of its own there. Of
each it tells the integers that went in or came out, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from models import Target
from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from tests.make_golden import golden_picture, integers_digest, tiny_codec

# What torch and oneDNN may use, which read it as they start: an old processor, and one of today
# without tiles. What a processor lacks it is not made to use.
SETTINGS = {
    "avx2": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "2"},
    "avx512-bfloat16": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
}


def codecs() -> list[LearnedCodec]:
    """The tiny model and a shipped one, in the arithmetic that this process is fast at."""
    return [tiny_codec(), LearnedCodec.load("ms-ssim")]


def encode(output: Path) -> dict[str, str]:
    """Write a stream of each model; gives the digests of the integers that they were made of."""
    digests = {}
    for codec in codecs():
        (quantised,) = codec.quantise([golden_picture()], [Target(bpp=0.4)])
        path = output / f"{output.name}-{codec.name}.zgt"
        path.write_bytes(codec.symbol_codec.write(quantised).data)
        digests[path.stem] = integers_digest(quantised.symbols)
    return digests


def decode(folder: Path, output: Path) -> dict[str, str]:
    """Decode every stream of a folder; gives the digests of the integers that came out."""
    by_id = {codec.model_id: codec for codec in codecs()}
    digests = {}
    for path in sorted(folder.glob("*.zgt")):
        stream = Bitstream.parse(path.read_bytes())
        codec = by_id[stream.model_id.hex()]
        symbols = codec.symbol_codec.read(stream)
        digests[path.stem] = integers_digest(symbols)
        codec.reconstruct([symbols])[0].to_image().save(output / f"{path.stem}.png")
    return digests


def main() -> None:
    """Decode, then encode."""
    folder, output = map(Path, sys.argv[1:])
    json.dump({"decoded": decode(folder, output), "encoded": encode(output)}, sys.stdout)


if __name__ == "__main__":
    main()

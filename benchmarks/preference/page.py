"""The page to vote on: one pair after another, the original between them, no names.

It is a folder of static files. A voter opens `index.html`, and saves the votes as a file at the
end. What is on which side is in `key.json`, beside the folder that voters get.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from benchmarks.preference.pairs import Pair

TEMPLATE = Path(__file__).with_name("page.html")


def write(pairs: Iterable[Pair], output: Path) -> list[dict[str, object]]:
    """Write `page/` and `key.json` into a folder; return what the key has of the pairs.

    Pictures are named by number and side alone, and all are PNGs, so that no name, type or size of
    a file tells a voter what made it.
    """
    page = output / "page"
    page.mkdir(parents=True, exist_ok=True)
    key: list[dict[str, object]] = []
    for number, pair in enumerate(pairs):
        shown = {"left": pair.decoded[0], "original": pair.original, "right": pair.decoded[1]}
        for side, pixels in shown.items():
            Image.fromarray(pixels).save(page / f"{number:03d}-{side}.png")
        key.append(
            {
                "number": number,
                "picture": pair.picture,
                "bpp": pair.bpp,
                "rule": pair.rule,
                "top": pair.box.top,
                "left_column": pair.box.left,
                "left": pair.left,
                "right": pair.right,
                "bytes": list(pair.bytes),
            }
        )
    (output / "key.json").write_text(json.dumps({"pairs": key}, indent=1) + "\n")
    (page / "index.html").write_text(TEMPLATE.read_text().replace("{{count}}", str(len(key))))
    return key

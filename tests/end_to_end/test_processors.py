"""A stream decodes to the same integers on every processor, whichever wrote it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.processors import SETTINGS, decode, encode
from tests.make_golden import GOLDEN

ROOT = Path(__file__).parents[2]
LOWEST_PSNR = 50.0  # dB between the pixels of two processors: docs/stream-format.md, section 11


@dataclass(frozen=True)
class Streams:
    """Digests of the integers of streams by their names.

    Attributes:
        folder: `here/` and a folder of each other processor, with the streams it wrote and the
            pictures that it made of those of here.
        written: as they were encoded.
        read_there: those of here, as each other processor decoded them.
        read_here: those of all, as this one decoded them.
    """

    folder: Path
    written: dict[str, str]
    read_there: dict[str, dict[str, str]]
    read_here: dict[str, str]


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Streams:
    folder = tmp_path_factory.mktemp("streams")
    here = folder / "here"
    here.mkdir()
    for path in GOLDEN.glob("*.zgt"):
        shutil.copy(path, here)
    golden = json.loads((GOLDEN / "symbols.json").read_text())["symbols"]
    written = {name.removesuffix(".zgt"): digest for name, digest in golden.items()} | encode(here)
    read_there = {}
    read_here = decode(here, here)
    for name, settings in SETTINGS.items():
        (folder / name).mkdir()
        command = [sys.executable, "-m", "tests.end_to_end.processors", str(here), str(folder / name)]
        told = subprocess.run(
            command, cwd=ROOT, env=os.environ | settings, stdout=subprocess.PIPE, check=True
        )
        found = json.loads(told.stdout)
        read_there[name] = found["decoded"]
        written |= found["encoded"]
        read_here |= decode(folder / name, folder / name)
    return Streams(folder, written, read_there, read_here)


def test_what_others_wrote_comes_back_here_as_the_same_integers(streams: Streams) -> None:
    assert streams.read_here == streams.written


@pytest.mark.parametrize("name", SETTINGS)
def test_what_was_written_here_comes_back_there_as_the_same_integers(streams: Streams, name: str) -> None:
    there = streams.read_there[name]
    assert there == {stream: streams.written[stream] for stream in there}
    assert {"here-tiny", "here-ms-ssim", "tiny-50"} <= set(there)


@pytest.mark.parametrize("name", SETTINGS)
def test_pixels_differ_by_no_more_than_rounding(streams: Streams, name: str) -> None:
    for stream in streams.read_there[name]:
        here, there = (
            np.asarray(Image.open(streams.folder / place / f"{stream}.png"), float)
            for place in ("here", name)
        )
        assert np.square(here - there).mean() <= 255**2 / 10 ** (LOWEST_PSNR / 10), stream

"""Answers become results; what is no such answer is said to be none."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ziggurat.conversation import Answer
from ziggurat.errors import DamagedAnswerError
from ziggurat.results import (
    Album,
    AlbumStream,
    Scores,
    album_in,
    compressed_in,
    enhanced_in,
    info_in,
    joined,
    models_in,
    picture_in,
    service_info_in,
)

from tests.make_golden import GOLDEN

STREAM = (GOLDEN / "tiny-50.zgt").read_bytes()
HEADERS = {
    "etag": '"id"',
    "location": "/decompress/id",
    "ziggurat-codec": "learned",
    "ziggurat-model": "psnr/01020304",
    "ziggurat-target-met": "true",
    "ziggurat-effort": "0",
}


def share(file: str = "a.zgt", **facts: Any) -> AlbumStream:
    stream = AlbumStream(b"12345", file, "id", "/decompress/id", 10, 20, 0.2, 50.0, 0, 30.0, 0.9)
    return replace(stream, **facts)


def album(*streams: AlbumStream, target_met: bool = True) -> Album:
    return Album(streams, "psnr", "01020304", "psnr", 100, target_met)


def archive(facts: object, **files: bytes) -> Answer:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("allocation.json", json.dumps(facts))
        for name, content in files.items():
            made.writestr(name, content)
    return Answer(200, {}, file.getvalue())


def test_facts_in_headers() -> None:
    more = {
        "ziggurat-auto": "metric=psnr, learned=inf, hybrid=31.50000",
        "ziggurat-psnr": "inf",
        "ziggurat-warning": "one; two",
        "server-timing": "decode;dur=1.5, queue;dur=0.0",
    }
    made = compressed_in(Answer(201, HEADERS | more, STREAM))
    assert made.auto == Scores("psnr", math.inf, 31.5)
    assert made.psnr == math.inf
    assert made.warnings == ("one", "two")
    assert made.timings == {"decode": 1.5, "queue": 0.0}
    assert (made.larger_than_source, made.ssimulacra2) == (False, None)
    more |= {"ziggurat-larger-than-source": "true", "ziggurat-ssimulacra2": "71.25"}
    made = compressed_in(Answer(201, HEADERS | more, STREAM))
    assert (made.larger_than_source, made.ssimulacra2) == (True, 71.25)
    assert (made.id, made.profile, made.model_id, made.target_bpp) == ("id", "psnr", "01020304", None)


@pytest.mark.parametrize("missing", HEADERS)
def test_a_stream_without_its_facts_is_no_answer(missing: str) -> None:
    left = {name: value for name, value in HEADERS.items() if name != missing}
    with pytest.raises(DamagedAnswerError):
        compressed_in(Answer(201, left, STREAM))


@pytest.mark.parametrize("content", [b"", b"<html>", STREAM[:10]])
def test_what_is_something_else_is_no_answer(content: bytes) -> None:
    answer = Answer(200, HEADERS | {"content-type": "text/html"}, content)
    for read in (compressed_in, picture_in, enhanced_in, album_in, info_in):
        with pytest.raises(DamagedAnswerError):
            read(answer)


def test_json_without_what_it_should_have_is_no_answer() -> None:
    for content in (b"[]", b"{}", b"3"):
        with pytest.raises(DamagedAnswerError):
            info_in(Answer(200, {}, content))
        with pytest.raises(DamagedAnswerError):
            service_info_in(Answer(200, {}, content))
    with pytest.raises(DamagedAnswerError):
        models_in(Answer(200, {}, b"[{}]"))
    with pytest.raises(DamagedAnswerError):
        album_in(archive({"streams": [{"file": "not-there.zgt", "psnr": 1.0}]}))


def test_what_a_later_service_adds_is_passed_over() -> None:
    facts = {"name": "psnr", "kind": "codec", "model_id": "01020304", "loaded": True, "default": True}
    facts |= {"device": None, "card": {}, "colour": "new"}
    (model,) = models_in(Answer(200, {}, json.dumps([facts]).encode()))
    assert model.name == "psnr"


def test_an_exact_picture_is_infinitely_good() -> None:
    stream = {"file": "a.zgt", "id": "id", "url": "/", "width": 2, "height": 2, "bpp": 1.0, "quality": 50}
    stream |= {"effort_reached": 0, "psnr": None, "ms_ssim": 1.0, "bytes": 1}
    facts = {"profile": "psnr", "model_id": "x", "metric": "psnr", "budget_bytes": 9, "target_met": True}
    made = album_in(archive(facts | {"streams": [stream]}, **{"a.zgt": b"1"}))
    assert made.psnr == made.streams[0].psnr == math.inf
    assert made.streams[0].data == b"1"


def test_an_album_sums_up_its_streams(tmp_path: Path) -> None:
    made = album(share(psnr=30.0), share("b.zgt", psnr=40.0, width=30, ms_ssim=0.8))
    assert made.bytes == 10
    assert made.pixels == 200 + 600
    assert made.bpp == 0.1
    assert made.ms_ssim == pytest.approx(0.85)
    assert made.psnr == pytest.approx(-10 * math.log10((200 * 1e-3 + 600 * 1e-4) / 800))
    made.save(tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["a.zgt", "b.zgt"]


def test_parts_make_one_album_whose_files_stay_apart() -> None:
    parts = [album(share("a.zgt"), share("a-2.zgt")), album(share("A.zgt"), share("a.zgt"), target_met=False)]
    made = joined(parts, 77)
    assert [stream.file for stream in made.streams] == ["a.zgt", "a-2.zgt", "A-3.zgt", "a-4.zgt"]
    assert (made.budget_bytes, made.target_met, made.parts) == (77, False, 2)

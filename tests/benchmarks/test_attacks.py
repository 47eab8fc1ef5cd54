"""Attacks send what they say, and what they buy is counted and judged."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageCms, ImageFile
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser

from benchmarks import hostile
from benchmarks.attackers import ATTACKS, LIMIT, MB, Attack, Victim
from benchmarks.attacks import ROOT, Outcome, Waits, load, table
from benchmarks.bystander import LAST_SECONDS, Turn
from benchmarks.meter import Meter, read
from benchmarks.program import write
from service.images import ImageError, read_header

OUTCOME = Outcome(
    attack="wrong-ids",
    commit="0123abc",
    seconds=1.5,
    cut_off=False,
    sent=4 * MB,
    received=300,
    answers={"422": 1},
    processor=0.5,
    memory=20 * MB,
    files=0,
    killed=False,
    died=False,
    before={"livez": Waits(4, 0.01, 0, 0)},
    waits={"livez": Waits(4, 0.2, 0, 0), "compress": Waits(4, 0.3, 0, 0)},
    outlived=0.0,
    stopped=2.0,
)


# Hostile bytes


def opened(file: bytes, image_format: str) -> Image.Image:
    image = Image.open(io.BytesIO(file))
    assert image.format == image_format
    return image


@pytest.mark.parametrize("pixels", [1, 10_000, 3_000_000])
def test_a_flat_webp_takes_no_bits_for_its_pixels(pixels: int) -> None:
    file = hostile.flat_webp(pixels)
    assert len(file) < 40
    image = opened(file, "WEBP")
    assert image.width == image.height == int(pixels**0.5)
    assert image.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_a_large_flat_webp_claims_what_it_has() -> None:
    with warnings.catch_warnings(action="ignore"):
        assert opened(hostile.flat_webp(100 * MB), "WEBP").size == (10_000, 10_000)


@pytest.mark.parametrize("side", [64, 1024, 2048])
def test_a_jpeg_has_as_many_scans_as_it_says(side: int) -> None:
    file = hostile.many_scans_jpeg(side, 40)
    assert file.count(b"\xff\xda") == 41
    image = opened(file, "JPEG")
    assert (image.size, image.mode, image.info["progressive"]) == ((side, side), "L", 1)
    image.load()


def test_small_segments_add_up() -> None:
    file = hostile.exif_jpeg(100_000, 50)
    assert len(file) == pytest.approx(100_000, rel=0.02)
    image = opened(file, "JPEG")
    assert len(image.info["exif"]) > 50 * 1_900
    image.load()
    opened(hostile.segments_jpeg(0xFE, b"", 100), "JPEG").load()
    opened(hostile.fill_bytes_jpeg(100), "JPEG").load()


def test_a_profile_is_one_large_table() -> None:
    profile = hostile.lut_profile(33)
    assert len(profile) > 3 * 33**3
    info = opened(hostile.icc_jpeg(profile), "JPEG").info
    assert info["icc_profile"] == profile
    read_back = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    to_rgb = ImageCms.buildTransform(read_back, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    assert ImageCms.applyTransform(Image.new("RGB", (8, 8)), to_rgb) is not None


def test_chunks_of_a_png_inflate() -> None:
    opened(hostile.tiny_chunks_png(100), "PNG").load()
    image = opened(hostile.text_bombs_png(3, 1), "PNG")
    assert isinstance(image, ImageFile.ImageFile)
    image.load()
    assert [len(text) for text in image.text.values()] == 3 * [1 << 20]  # type: ignore[attr-defined]
    deflated = hostile.zeros_deflated(3)
    assert len(deflated) < 15_000
    assert zlib.decompress(deflated) == bytes(3 << 20)
    assert deflated in hostile.profile_bomb_png(3)


def test_alpha_has_two_values() -> None:
    counts = opened(hostile.two_alphas_png(64), "PNG").getchannel("A").histogram()
    assert counts[0] + counts[255] == 64 * 64
    assert abs(counts[0] - counts[255]) < 500
    assert opened(hostile.flat_png(10_000), "PNG").size == (100, 100)


def test_parts_of_other_formats_are_tiny() -> None:
    assert opened(hostile.tiny_blocks_gif(100), "GIF").info["comment"] == b"a" * 100
    shared = hostile.shared_values_tiff(5, 1_000)
    assert len(shared) < 1_300
    with warnings.catch_warnings(action="ignore"):  # Pillow keeps no more values than the file has
        assert len(opened(shared, "TIFF").tag_v2[32_768]) == 1_000  # type: ignore[attr-defined]
    assert opened(hostile.pages_tiff(20), "TIFF").n_frames == 21  # type: ignore[attr-defined]
    assert opened(hostile.looping_tiff(), "TIFF").size == (8, 8)
    assert opened(hostile.tiny_runs_bmp(400), "BMP").size == (2_000, 2_000)
    comments = hostile.comments_ppm(1_000)
    assert len(comments) == pytest.approx(1_000, abs=20)
    assert opened(comments, "PPM").size == (64, 64)


@pytest.mark.parametrize(
    "file",
    [hostile.endless_number_avif(1_000), hostile.tiny_units_avif(100), hostile.tiny_boxes_avif(100)],
)
def test_the_header_of_an_avif_can_be_read(file: bytes) -> None:
    assert opened(file, "AVIF").size == (64, 64)


def test_messages_are_well_formed() -> None:
    wrong = hostile.wrong_ids(1_000)
    assert len(wrong) == pytest.approx(1_000, abs=5)
    assert set(json.loads(wrong)["ids"]) == {1}
    assert {len(stream_id) for stream_id in json.loads(hostile.right_ids(3))["ids"]} == {64}
    assert json.loads(hostile.nested_json(3)) == {"ids": [[[]]]}


def test_a_form_has_its_parts() -> None:
    async def stream() -> AsyncGenerator[bytes]:
        yield hostile.form(("name", b"a"), ("file", b"content"))

    async def check() -> None:
        headers = Headers({"content-type": "multipart/form-data; boundary=x"})
        form = await MultiPartParser(headers, stream()).parse()
        file = form["file"]
        assert isinstance(file, UploadFile)
        assert (form["name"], await file.read()) == ("a", b"content")
        await form.close()

    asyncio.run(check())


# Attackers


def test_every_attack_says_what_it_sends() -> None:
    assert all(attack.sends for attack in ATTACKS.values())
    assert len({attack.sends for attack in ATTACKS.values()}) == len(ATTACKS)


def test_the_limit_is_read_from_the_refusal() -> None:
    with pytest.raises(ImageError) as refused:
        read_header(hostile.flat_webp(1_000_000), max_pixels=40_000)
    stated = LIMIT.search(str(refused.value))
    assert stated is not None
    assert stated[1] == "40000"


def test_what_is_sent_and_answered_is_counted(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/silent" not in head:
                await reader.readexactly(300_000)
                writer.write(b"HTTP/1.1 422 No\r\n\r\nwhy")
        writer.close()

    async def attack() -> Victim:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        victim = Victim("127.0.0.1", server.sockets[0].getsockname()[1], tmp_path, hold_seconds=0.2)
        answered = await victim.request("/compress", bytes(300_000), content_type="image/png")
        assert (answered.status, answered.text[-3:]) == (422, "why")
        assert 300_000 < victim.sent < 300_500
        await victim.request("/silent")
        held = [await victim.open() for _ in range(3)]
        held[1].listen()
        await held[0].send(victim.head("/silent", {}) + b"\r\n")
        await victim.hold(held)
        victim.close()
        server.close()
        await victim.request("/compress")
        return victim

    victim = asyncio.run(attack())
    assert victim.answers == {
        "422": 1,
        "closed": 2,
        "held open": 2,
        "no connection": 1,
    }
    assert (tmp_path / victim.put(b"stream")[:2]).is_dir()


# What it costs


def test_the_meter_sees_children_and_files_without_a_name(tmp_path: Path) -> None:
    child = (
        "import tempfile, time\n"
        f"file = tempfile.TemporaryFile(dir={str(tmp_path)!r}); file.write(bytes(3000000)); file.flush()\n"
        "held = b'x' * 50000000\n"
        "while time.process_time() < 0.3: pass\n"
        "print(flush=True); input()"
    )
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=0)\n"
        "child.wait(); print(flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        exceeded: list[float] = []
        with Meter(process.pid, tmp_path, 40 * MB, lambda: exceeded.append(time.monotonic())) as meter:
            process.stdout.readline()
            busy = read(psutil.Process(process.pid), tmp_path)
            time.sleep(0.3)
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()  # the child has ended, and its time is not lost
            ended = read(psutil.Process(process.pid), tmp_path)
    finally:
        process.kill()
        process.communicate()
    assert busy.files == 3 * MB
    assert busy.memory > 50 * MB
    assert busy.processor >= 0.3
    assert ended.processor >= 0.3
    assert ended.files == 0
    assert len(exceeded) == 1
    assert meter.at(busy.at).at >= busy.at
    assert meter.since(time.monotonic()) == meter.readings[-1:]


def test_a_bystander_tells_of_what_is_never_answered() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/compress" in head:
            writer.write(b'HTTP/1.1 201 Created\r\nETag: "' + 64 * b"a" + b'"\r\n\r\n')
        elif f"/decompress/{64 * 'a'} " in head.decode():
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")
        else:
            await reader.read()  # for ever: the bystander sends no more
        writer.close()

    async def watch() -> list[Turn]:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.bystander", "127.0.0.1", str(port)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
            assert process.stdout is not None
            first = await process.stdout.readline()
            told, _ = await asyncio.wait_for(process.communicate(b""), 60)
            return [Turn(**json.loads(line)) for line in (first + told).splitlines()]

    turns = asyncio.run(watch())
    assert {(turn.kind, turn.status) for turn in turns} == {
        ("compress", 201),
        ("decompress", 429),
        ("livez", 0),
    }
    assert max(turn.seconds for turn in turns if turn.kind == "livez") >= LAST_SECONDS


def test_waits_are_counted() -> None:
    turns = [Turn("livez", status, seconds) for status, seconds in ((200, 0.1), (429, 3.0), (0, 9.0))]
    assert Waits.of(turns) == Waits(asked=3, worst=9.0, refused=1, failed=1)
    assert Waits.of([]) == Waits(0, 0.0, 0, 0)


@pytest.mark.parametrize(
    ("outcome", "broken"),
    [
        (OUTCOME, []),
        (replace(OUTCOME, waits={"livez": Waits(9, 2.5, 0, 0)}), ["others waited 2.5 s"]),
        (replace(OUTCOME, waits={"livez": Waits(9, 0.1, 2, 1)}), ["3 of others turned away"]),
        (replace(OUTCOME, memory=600 * MB, files=300 * MB), ["900 MB"]),
        (replace(OUTCOME, outlived=4.0), ["4 s of work after its end"]),
        (replace(OUTCOME, stopped=22.0), ["SIGTERM without effect"]),
        (replace(OUTCOME, answers={"500": 1, "422": 4}), ["a 500"]),
        (replace(OUTCOME, killed=True), ["over 8000 MB, killed"]),
        (replace(OUTCOME, died=True), ["the server died"]),
    ],
)
def test_promises(outcome: Outcome, broken: list[str]) -> None:
    assert outcome.broken(ATTACKS["wrong-ids"]) == broken


def test_the_one_large_picture_may_have_more_memory() -> None:
    outcome = replace(OUTCOME, memory=2_000 * MB)
    large = Attack(ATTACKS["flat-webp"].run, large=True)
    assert outcome.broken(large) == []


def test_runs_stand_side_by_side(tmp_path: Path) -> None:
    before = replace(OUTCOME, processor=52.0, memory=4_400 * MB, stopped=22.0, cut_off=True)
    for name, outcome in (("before", before), ("after", OUTCOME)):
        write(tmp_path / name, {"attacks": [asdict(outcome)]})
    made = table([load(tmp_path / "before"), load(tmp_path / "after")]).splitlines()
    assert len(made) == 3
    assert made[2].startswith('| 4 MB of {"ids":[1,1,...]} to /allocate (`wrong-ids`) | 4.0 MB | 422 x 1 |')
    assert "| over 52 s → 0 s |" in made[2]
    assert "| 4400 MB → 20 MB |" in made[2]
    assert "| over 20 s → 2 s |" in made[2]
    assert made[2].endswith("| kept |")
    assert {line.count("|") for line in made} == {11}

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageFilter

from models.bitstream import Bitstream
from service.ids import id_of
from service.settings import Settings
from tests.models.metadata import samples
from tests.service.conftest import Live

Files = list[tuple[str, tuple[str, bytes]]]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def files(photo: Image.Image) -> Files:
    """Three images that are worth different numbers of bytes, two with the same name."""
    faded = photo.crop((0, 0, 90, 70))
    faded.putalpha(200)
    images = {
        "photo.png": photo,
        "blurred.png": photo.filter(ImageFilter.GaussianBlur(4)),
        "../photo.jpg": faded,
    }
    return [("file", (name, png(image))) for name, image in images.items()]


PIXELS = 2 * 128 * 96 + 90 * 70


def unpacked(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_images_share_one_budget(client: TestClient, files: Files) -> None:
    answer = client.post("/allocate?budget_bpp=0.4", files=files)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-digest"].startswith("sha-256=:")
    inside = unpacked(answer.content)
    assert list(inside) == ["photo.zgt", "blurred.zgt", "photo-2.zgt", "allocation.json", "allocation.csv"]
    facts = json.loads(inside["allocation.json"])
    streams = {name: data for name, data in inside.items() if name.endswith(".zgt")}
    budget = int(0.4 * PIXELS / 8)
    assert facts["budget_bytes"] == budget
    assert facts["bytes"] == sum(map(len, streams.values()))
    assert 0.995 * budget - 8 <= facts["bytes"] <= budget
    assert facts["target_met"]
    assert (facts["profile"], facts["metric"]) == ("visual", "ms-ssim")
    assert 0.85 < facts["ms_ssim"] < 1
    assert 20 < facts["psnr"] < 50
    for share in facts["streams"]:
        assert share["id"] == id_of(streams[share["file"]])
        assert client.get(share["url"]).status_code == 200
        assert share["bytes"] == len(streams[share["file"]])
    rates = {share["file"]: share["bpp"] for share in facts["streams"]}
    assert rates["blurred.zgt"] < rates["photo.zgt"]
    rows = list(csv.DictReader(io.StringIO(inside["allocation.csv"].decode())))
    assert [(row["file"], int(row["bytes"])) for row in rows] == [
        (share["file"], share["bytes"]) for share in facts["streams"]
    ]
    assert client.get(facts["streams"][2]["url"]).headers["content-type"] == "image/png"
    assert Bitstream.parse(streams["photo-2.zgt"]).alpha is not None


def test_a_stream_that_is_larger_than_its_file_is_marked(client: TestClient, files: Files) -> None:
    flat = png(Image.new("RGB", (16, 16), "teal"))
    answer = client.post(
        "/allocate?budget_bytes=100000",
        files=[files[0], ("file", ("flat.png", flat))],
        headers={"Accept": "application/json"},
    )
    sizes = [len(files[0][1][1]), len(flat)]
    streams = answer.json()["streams"]
    expected = [share["bytes"] > size for share, size in zip(streams, sizes, strict=True)]
    assert [share["larger_than_source"] for share in streams] == expected
    again = client.post(
        "/allocate?budget_bytes=100000",
        json={"ids": [streams[0]["id"]]},
        headers={"Accept": "application/json"},
    )
    (share,) = again.json()["streams"]
    assert share["larger_than_source"] == (share["bytes"] > streams[0]["bytes"])


def test_the_facts_alone(client: TestClient, files: Files) -> None:
    query = "/allocate?budget_bytes=1500&metric=psnr&profile=psnr"
    answer = client.post(query, files=files, headers={"Accept": "application/json"})

    facts = answer.json()
    assert facts["profile"] == facts["metric"] == "psnr"
    assert 0.995 * 1500 - 8 <= facts["bytes"] <= 1500
    assert answer.headers["ziggurat-target-met"] == "true"
    assert answer.headers["ziggurat-model"] == f"psnr/{facts['model_id']}"


def test_effort_makes_better_pictures_of_the_same_budget(client: TestClient, files: Files) -> None:
    plain, refined = (
        client.post(
            f"/allocate?budget_bytes=1500{effort}", files=files, headers={"Accept": "application/json"}
        ).json()
        for effort in ("", "&effort=5")
    )

    assert (plain["effort"], refined["effort"]) == (0, 5)
    assert [[share["effort_reached"] for share in facts["streams"]] for facts in (plain, refined)] == [
        [0] * 3,
        [5] * 3,
    ]
    assert 0.995 * 1500 - 8 <= refined["bytes"] <= 1500
    assert refined["ms_ssim"] > plain["ms_ssim"]


def test_stored_streams_are_transcoded(client: TestClient, files: Files) -> None:
    ids = []
    for _, (_, content) in files[:2]:
        made = client.post(
            "/compress?quality=70&profile=psnr", content=content, headers={"Content-Type": "image/png"}
        )
        ids.append(id_of(made.content))

    answer = client.post("/allocate?budget_bytes=800", json={"ids": ids})

    inside = unpacked(answer.content)
    assert answer.status_code == 200
    assert list(inside)[:2] == [f"{stream_id}.zgt" for stream_id in ids]
    facts = json.loads(inside["allocation.json"])
    assert 0.995 * 800 - 8 <= facts["bytes"] <= 800
    assert {share["id"] for share in facts["streams"]}.isdisjoint(ids)


@pytest.mark.parametrize(("budget", "met"), [(100, False), (1_000_000, False)])
def test_a_budget_out_of_reach_is_said(client: TestClient, files: Files, budget: int, met: bool) -> None:
    answer = client.post(
        f"/allocate?budget_bytes={budget}", files=files, headers={"Accept": "application/json"}
    )

    assert answer.json()["target_met"] is met
    assert answer.headers["ziggurat-target-met"] == "false"


def test_strict_refuses_what_is_over_the_budget(client: TestClient, files: Files) -> None:
    answer = client.post("/allocate?budget_bytes=100&strict=true", files=files)

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:ziggurat:target-missed")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "budget_bpp"),
        ("budget_bpp=1&budget_bytes=100", "budget_bytes"),
        ("budget_bpp=0", "32"),
        ("budget_bytes=0", "1"),
        ("budget_bytes=1" + "0" * 400, "at most"),
        ("budget_bpp=1&metric=vmaf", "metric"),
        ("budget_bpp=1&profile=vmaf", "ms-ssim"),
        ("budget_bpp=1&quality=3", "quality"),
        ("budget_bpp=1&effort=10", "effort"),
    ],
)
def test_wrong_parameters_are_named(client: TestClient, files: Files, query: str, words: str) -> None:
    answer = client.post(f"/allocate?{query}", files=files)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"ids": []}, 422, "invalid-request", "ids"),
        ({"ids": ["x"], "more": 1}, 422, "invalid-request", "more"),
        ({"ids": "x"}, 422, "invalid-request", "ids"),
        ({"ids": ["x"] * 101}, 422, "invalid-request", "limit is 100"),
        ({"ids": ["0" * 64]}, 404, "unknown-id", "0000"),
        ([], 422, "invalid-request", "body"),
    ],
)
def test_wrong_ids_are_told(client: TestClient, body: Any, status: int, kind: str, words: str) -> None:
    answer = client.post("/allocate?budget_bpp=1", json=body)

    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, kind)
    assert words in answer.json()["detail"]


def test_the_bad_image_is_named(client: TestClient, files: Files) -> None:
    _, (_, sound) = files[0]
    bad = {"unsupported-image": b"hello", "damaged-image": sound[: len(sound) // 2]}
    answers = {
        kind: client.post("/allocate?budget_bpp=1", files=[*files, ("file", ("bad.png", content))])
        for kind, content in bad.items()
    }

    assert {kind: answer.json()["type"].rpartition(":")[2] for kind, answer in answers.items()} == {
        kind: kind for kind in bad
    }
    assert all("bad.png" in answer.json()["detail"] for answer in answers.values())


def test_limits_are_of_all_images_together(client: TestClient, photo: Image.Image) -> None:
    half = png(Image.new("L", (1000, 501)))
    answer = client.post(
        "/allocate?budget_bpp=1", files=[("file", ("a.png", half)), ("file", ("b.png", half))]
    )
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:problem-type:ziggurat:image-too-large")
    assert "1002000 pixels together" in answer.json()["detail"]

    answer = client.post("/allocate?budget_bpp=1", files=[("file", ("a.png", bytes(1_100_000)))] * 2)
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:problem-type:ziggurat:body-too-large")

    answer = client.post("/allocate?budget_bpp=1", files=[("file", ("a.png", png(photo)))] * 101)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:ziggurat:malformed-body")
    assert "100" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "image/png"}, b"\x89PNG", 415),
        ({"Content-Type": "application/json"}, b"{", 422),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n", 422),
        ({"Content-Type": "application/json", "Accept": "image/png"}, b"{}", 406),
    ],
)
def test_other_bodies_and_answers_are_refused(
    client: TestClient, headers: dict[str, str], body: bytes, status: int
) -> None:
    assert client.post("/allocate?budget_bpp=1", content=body, headers=headers).status_code == status


def test_a_real_server_counts_what_it_made(live: Callable[[Settings], Live], files: Files) -> None:
    settings = Settings.model_validate(
        {"store": "memory://", "models": "ms-ssim", "threads": 1, "max_allocation_images": 2}
    )
    boundary = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = b"".join(boundary.encode() + content + b"\r\n" for _, (_, content) in files[:2]) + b"--x--\r\n"
    with live(settings) as server:
        with urlopen(
            Request(
                f"{server.url}/allocate?budget_bpp=0.5",
                body,
                {"Content-Type": "multipart/form-data; boundary=x"},
            )
        ) as answer:
            assert set(unpacked(answer.read())) == {"a.zgt", "a-2.zgt", "allocation.json", "allocation.csv"}
        server.wait_for(
            lambda: server.metric("requests_total", route="/allocate", method="POST", status="200") == 1
        )
        assert server.metric("allocation_images_sum") == 2
        assert server.metric("rate_bpp_count") == 2
        assert server.metric("queue_pixels") == 0


def test_a_collection_has_the_time_of_any_request(live: Callable[[Settings], Live], files: Files) -> None:
    settings = Settings.model_validate(
        {"store": "memory://", "models": "ms-ssim", "threads": 1, "request_timeout_seconds": 0.1}
    )
    boundary = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    body = b"".join(boundary + content + b"\r\n" for _, (_, content) in files * 20) + b"--x--\r\n"
    with live(settings) as server:
        with pytest.raises(HTTPError) as refused:
            urlopen(
                Request(
                    f"{server.url}/allocate?budget_bpp=0.5",
                    body,
                    {"Content-Type": "multipart/form-data; boundary=x"},
                )
            )
        kind = json.loads(refused.value.read())["type"].rpartition(":")[2]
        # At the door, or where the machine seems fast enough for it, when the time is over.
        assert (refused.value.code, kind) in {(422, "too-costly"), (503, "deadline-exceeded")}
        server.wait_for(lambda: server.metric("queue_images") == 0)
        assert server.metric("queue_pixels") == 0


def test_metadata_of_each_is_part_of_the_one_budget(client: TestClient, photo: Image.Image) -> None:
    file = io.BytesIO()
    photo.save(file, "WEBP", quality=90, exif=samples.exif(orientation=1), xmp=samples.XMP)
    sent = [("file", ("a.webp", file.getvalue())), ("file", ("b.png", png(photo)))]

    inside = unpacked(client.post("/allocate?budget_bytes=1800&metadata=keep", files=sent).content)
    facts = json.loads(inside["allocation.json"])
    with_metadata, without = facts["streams"]

    assert 0.995 * 1800 - 8 <= facts["bytes"] <= 1800
    assert with_metadata["dropped"] == ["gps", "maker-note", "thumbnail"]
    assert (without["dropped"], without["metadata_bytes"]) == ([], None)
    metadata = Bitstream.parse(inside["a.zgt"]).metadata
    assert metadata is not None
    assert with_metadata["metadata_bytes"] == len(metadata)
    assert abs(with_metadata["bytes"] - len(metadata) - without["bytes"]) < 0.15 * without["bytes"], (
        "equal pictures get about equal shares beside it"
    )
    rows = list(csv.DictReader(io.StringIO(inside["allocation.csv"].decode())))
    assert rows[0]["dropped"] == "gps maker-note thumbnail"

    again = client.post("/allocate?budget_bytes=800", json={"ids": [with_metadata["id"]]})
    shares = json.loads(unpacked(again.content)["allocation.json"])["streams"]
    assert shares[0]["dropped"] == ["exif", "xmp"]

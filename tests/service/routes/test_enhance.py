from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, ImageCms

from models import Picture
from models.postprocess import model as post_model
from models.postprocess import sources
from models.postprocess.postprocessor import PostProcessor
from service.app import create_app
from service.settings import Settings
from tests.models.metadata import samples


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def opened(file: bytes) -> Image.Image:
    return Image.open(io.BytesIO(file))


@pytest.fixture(scope="module")
def post_processor() -> PostProcessor:
    return PostProcessor.load()


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "AVIF"])
def test_the_png_is_exactly_what_the_post_processor_makes(
    client: TestClient, photo: Image.Image, post_processor: PostProcessor, image_format: str
) -> None:
    file = encode(photo, image_format, quality=30)
    answer = client.post("/enhance", content=file, headers={"Content-Type": f"image/{image_format.lower()}"})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    source = sources.read(file)
    expected = post_processor.improve([Picture.from_image(opened(file))], [source])[0]
    np.testing.assert_array_equal(np.asarray(opened(answer.content)), np.asarray(expected.to_image()))
    assert answer.headers["ziggurat-source"] == f"{image_format.lower()}; coarseness={source.coarseness:.3f}"
    assert answer.headers["ziggurat-model"] == f"files/{post_processor.model_id}"
    assert "device;dur=" in answer.headers["server-timing"]


def test_multipart_accept_and_format(client: TestClient, photo: Image.Image) -> None:
    file = encode(photo, "JPEG", quality=30)
    by_accept = client.post("/enhance", files={"file": ("photo.jpg", file)}, headers={"Accept": "image/webp"})
    by_format = client.post("/enhance?format=webp", content=file, headers={"Content-Type": "image/jpeg"})

    assert by_accept.headers["content-type"] == by_format.headers["content-type"] == "image/webp"
    assert by_accept.content == by_format.content
    assert (
        client.post(
            "/enhance", content=file, headers={"Content-Type": "image/jpeg", "Accept": "text/html"}
        ).status_code
        == 406
    )


def test_the_picture_comes_out_upright_and_in_srgb(client: TestClient, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = client.post(
        "/enhance", content=encode(photo, "JPEG", quality=40), headers={"Content-Type": "image/jpeg"}
    )
    turned_file = encode(photo, "JPEG", quality=40, exif=exif, icc_profile=profile)
    turned = client.post("/enhance", content=turned_file, headers={"Content-Type": "image/jpeg"})

    assert opened(turned.content).size == (photo.height, photo.width)
    back = np.asarray(opened(turned.content).rotate(90, expand=True), dtype=int)
    # It went through a colour profile that changes nothing.
    assert np.abs(back - np.asarray(opened(plain.content), dtype=int)).max() <= 1


def test_alpha_and_grey_are_kept(client: TestClient, photo: Image.Image) -> None:
    transparent = photo.copy()
    transparent.putalpha(photo.convert("L"))
    answer = client.post(
        "/enhance", content=encode(transparent, "WEBP", quality=20), headers={"Content-Type": "image/webp"}
    )
    np.testing.assert_array_equal(
        np.asarray(opened(answer.content).getchannel("A")), np.asarray(photo.convert("L"))
    )
    grey = client.post(
        "/enhance",
        content=encode(photo.convert("L"), "JPEG", quality=20),
        headers={"Content-Type": "image/jpeg"},
    )
    assert opened(grey.content).mode == "L"


def test_what_it_is_not_for_is_refused_with_the_reason(client: TestClient, photo: Image.Image) -> None:
    files = {
        "not a JPEG, WebP or AVIF": encode(photo, "PNG"),
        "lossless": encode(photo, "WEBP", lossless=True),
        "higher quality": encode(photo, "JPEG", quality=95),
        "CMYK": encode(photo.convert("CMYK"), "JPEG", quality=30),
    }
    for reason, file in files.items():
        answer = client.post("/enhance", content=file, headers={"Content-Type": "image/*"})
        assert answer.status_code == 422, reason
        assert answer.json()["type"] == "urn:problem-type:ziggurat:unsuitable-source"
        assert reason in answer.json()["detail"]


def test_without_weights_it_says_so(jpeg: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post_model, "WEIGHTS", tmp_path)
    with TestClient(
        create_app(Settings(store="memory://", models=("psnr",), profile="psnr", threads=1))
    ) as client:
        answer = client.post("/enhance", content=jpeg, headers={"Content-Type": "image/jpeg"})
        assert (answer.status_code, answer.json()["type"]) == (
            501,
            "urn:problem-type:ziggurat:no-post-processor",
        )
        assert {model["kind"] for model in client.get("/models").json()} == {"codec", "hybrid"}


def test_hostile_files_get_the_problems_that_they_get_everywhere(
    client: TestClient, photo: Image.Image
) -> None:
    file = encode(photo, "JPEG", quality=30)
    problems = {
        "unsupported-image": b"nothing",
        "damaged-image": file[: len(file) // 2],
        "image-too-large": encode(photo.resize((1001, 1000)), "JPEG", quality=5),
    }
    for slug, body in problems.items():
        answer = client.post("/enhance", content=body, headers={"Content-Type": "image/jpeg"})
        assert answer.json()["type"].rpartition(":")[2] == slug


def test_it_is_counted(client: TestClient, photo: Image.Image) -> None:
    def pixels() -> float:
        line = next(
            line
            for line in client.get("/metrics").text.splitlines()
            if line.startswith('ziggurat_pixels_total{direction="enhance"}')
        )
        return float(line.split()[1])

    before = pixels()
    client.post("/enhance", content=encode(photo, "JPEG", quality=30), headers={"Content-Type": "image/jpeg"})
    assert pixels() - before == photo.width * photo.height


def test_what_was_dropped_is_said(client: TestClient, photo: Image.Image) -> None:
    file = encode(photo, "JPEG", quality=30, exif=b"Exif\0\0" + samples.exif())
    answer = client.post("/enhance", content=file)
    assert answer.headers["ziggurat-dropped"] == "exif"
    assert (
        "ziggurat-dropped" not in client.post("/enhance", content=encode(photo, "JPEG", quality=30)).headers
    )

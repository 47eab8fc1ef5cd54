from __future__ import annotations

import base64
import io
from hashlib import sha256

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from models.metrics import score
from service.app import create_app
from service.settings import Settings

FORMATS = ["jpeg", "webp", "avif"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_is_as_good_as_its_bytes_allow(client: TestClient, jpeg: bytes, format: str) -> None:
    wide = client.post(
        "/encode", params={"format": format, "max_bytes": 3000, "report": "psnr"}, content=jpeg
    )
    tight = client.post(
        "/encode", params={"format": format, "max_bytes": 1500, "report": "psnr"}, content=jpeg
    )

    for answer, limit in ((wide, 3000), (tight, 1500)):
        assert (answer.status_code, answer.headers["content-type"]) == (200, f"image/{format}")
        assert 0.7 * limit < len(answer.content) <= limit
        digest = base64.b64encode(sha256(answer.content).digest()).decode()
        assert answer.headers["content-digest"] == f"sha-256=:{digest}:"
        with Image.open(io.BytesIO(answer.content)) as image:
            assert (image.format, image.size) == (format.upper(), (128, 96))
    assert float(wide.headers["ziggurat-psnr"]) > float(tight.headers["ziggurat-psnr"]) > 15
    assert int(wide.headers["ziggurat-quality"]) > int(tight.headers["ziggurat-quality"])
    assert "ziggurat-ms-ssim" not in wide.headers
    assert "encode;dur=" in wide.headers["server-timing"]


def test_all_measures_are_those_of_the_file(client: TestClient, jpeg: bytes) -> None:
    params: dict[str, str | int] = {"format": "webp", "max_bytes": 3000, "report": "ms-ssim,ssimulacra2"}
    answer = client.post("/encode", params=params, files={"file": ("photo.jpg", jpeg)})
    assert 0.8 < float(answer.headers["ziggurat-ms-ssim"]) < 1
    original, decoded = (
        np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in (jpeg, answer.content)
    )
    expected = score(decoded, original, "ssimulacra2", torch.device("cpu"))
    assert float(answer.headers["ziggurat-ssimulacra2"]) == pytest.approx(expected, abs=0.01)
    assert float(answer.headers["ziggurat-bpp"]) == pytest.approx(
        8 * len(answer.content) / (128 * 96), abs=1e-6
    )


def test_a_transparent_jpeg_is_compared_on_white(client: TestClient, photo: Image.Image) -> None:
    clear = photo.convert("RGBA")
    clear.putalpha(0)
    file = io.BytesIO()
    clear.save(file, "PNG")
    params: dict[str, str | int] = {"format": "jpg", "max_bytes": 3000, "report": "psnr,ms-ssim"}
    answer = client.post("/encode", params=params, content=file.getvalue())
    assert answer.status_code == 200
    assert answer.headers["ziggurat-psnr"] == "inf"  # white came back exactly
    assert float(answer.headers["ziggurat-ms-ssim"]) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_is_never_larger_than_asked_for(client: TestClient, jpeg: bytes, format: str) -> None:
    answer = client.post("/encode", params={"format": format, "max_bytes": 20}, content=jpeg)
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:ziggurat:target-missed")
    assert f"the smallest {format.upper()} of this image has" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"format": "webp"}, "max_bytes"),
        ({"max_bytes": 1000}, "format"),
        ({"format": "png", "max_bytes": 1000}, "format"),
        ({"format": "webp", "max_bytes": 0}, "max_bytes"),
        ({"format": "webp", "max_bytes": 1000, "report": "vmaf"}, "report"),
        ({"format": "webp", "max_bytes": 1000, "speed": 0}, "speed"),
    ],
    ids=str,
)
def test_wrong_parameters_are_named(
    client: TestClient, jpeg: bytes, params: dict[str, str], named: str
) -> None:
    answer = client.post("/encode", params=params, content=jpeg)
    assert (answer.status_code, answer.json()["errors"][0]["parameter"].split(".")[0]) == (422, named)


def test_what_is_no_image_is_refused(client: TestClient) -> None:
    answer = client.post("/encode", params={"format": "webp", "max_bytes": 1000}, content=b"Dear reader")
    assert answer.status_code == 415


def test_it_is_admitted_like_all_work() -> None:
    """A search costs what its encodes cost: it is refused where they would not be done in time."""
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", request_timeout_seconds=0.5)
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(file, "PNG")
    with TestClient(create_app(settings)) as client:
        params: dict[str, str | int] = {"format": "avif", "max_bytes": 1000}
        answer = client.post("/encode", params=params, content=file.getvalue())
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:ziggurat:too-costly")

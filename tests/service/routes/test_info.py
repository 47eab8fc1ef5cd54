"""What the service says of itself is what it does."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

import service
from models.bitstream import VERSION
from models.postprocess import model as post_model
from models.weights import registry
from service.settings import Settings


def test_it_names_version_models_and_limits(client: TestClient, settings: Settings) -> None:
    info = client.get("/info").json()

    assert (info["version"], info["format_version"], info["device"]) == (service.__version__, VERSION, "cpu")
    ids = {model["name"]: model["model_id"] for model in info["models"] if model["kind"] == "codec"}
    assert ids == {name: registry.card(name).model_id for name in registry.available()}
    assert [model["name"] for model in info["models"] if model["default"]] == ["visual"]
    assert {model["name"]: model["metric"] for model in info["models"] if model["kind"] == "codec"} == {
        "visual": "ms-ssim",
        "ms-ssim": "ms-ssim",
        "psnr": "psnr",
    }
    of_posts = {model["name"] for model in info["models"] if model["kind"] == "post-processor"}
    assert of_posts == set(post_model.available())
    assert info["limits"]["pixels"] == settings.max_pixels == info["limits"]["effort_pixels"]
    assert info["limits"]["body_bytes"] == settings.max_body_bytes
    assert info["limits"]["seconds"] == settings.request_timeout_seconds
    assert (info["can"]["keys"], info["can"]["delete"], info["can"]["enhance"]) == (False, True, True)
    assert client.head("/info").status_code == 200
    assert client.get("/info?verbose=1").status_code == 422


def test_what_it_says_that_it_can_do_it_does(client: TestClient, jpeg: bytes) -> None:
    can = client.get("/info").json()["can"]

    report = ",".join(can["measures"])
    made = client.post(f"/compress?quality=10&report={report}", content=jpeg)
    assert {"ziggurat-psnr", "ziggurat-ms-ssim", "ziggurat-ssimulacra2"} <= set(made.headers)
    for name in can["writes"]:
        picture = client.get(made.headers["location"], params={"format": name})
        assert picture.headers["content-type"] == f"image/{name.replace('jpg', 'jpeg')}"
    assert "jpeg" in can["reads"]
    wrong = client.post("/compress?bpp=1&codec=none", content=jpeg)
    assert all(codec in wrong.json()["detail"] for codec in can["codecs"])


@pytest.mark.parametrize("format", ["JPG", "Jpeg", "jpg"])
def test_names_of_formats_may_be_written_as_files_have_them(
    client: TestClient, jpeg: bytes, format: str
) -> None:
    made = client.post("/compress?quality=10", content=jpeg)
    for answer in (
        client.get(made.headers["location"], params={"format": format}),
        client.post("/decompress", params={"format": format}, content=made.content),
        client.post("/encode", params={"format": format, "max_bytes": 3000}, content=jpeg),
    ):
        assert answer.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("format", ["tiff", "jxl", ""])
def test_a_name_of_no_format_is_answered_with_those_there_are(
    client: TestClient, jpeg: bytes, format: str
) -> None:
    wrong = client.post("/decompress", params={"format": format}, content=b"")
    assert wrong.status_code == 422
    assert all(name in wrong.json()["detail"] for name in client.get("/info").json()["can"]["writes"])

from __future__ import annotations

import io
import re

from fastapi.testclient import TestClient
from PIL import Image

from service.app import create_app
from service.engine.timings import Timings
from service.http.server_timing import server_timing
from service.settings import Settings


def test_names_come_in_order_and_in_milliseconds() -> None:
    timings = Timings()
    timings.add("queue", 0.5)
    timings.add("device", 2)
    timings.add("entropy", 0.0004)

    assert server_timing(timings) == "queue;dur=500.0, device;dur=2000.0, entropy;dur=0.4"


def stages(header: str) -> dict[str, float]:
    return {name: float(milliseconds) for name, milliseconds in re.findall(r"([\w-]+);dur=([\d.]+)", header)}


def test_answers_tell_where_their_time_went(client: TestClient, photo: Image.Image, jpeg: bytes) -> None:
    coarse = io.BytesIO()
    photo.save(coarse, "JPEG", quality=30)
    headers = {"Content-Type": "image/jpeg"}
    made = client.post("/compress?bpp=1", content=jpeg, headers=headers)
    hybrid = client.post("/compress?bpp=1&codec=hybrid", content=jpeg, headers=headers)
    answers = [
        (made, "decode queue device entropy store"),
        (client.get(made.headers["location"]), "store queue device entropy encode"),
        (
            client.post("/decompress", content=made.content, headers={"Content-Type": ""}),
            "queue device entropy encode",
        ),
        (hybrid, "decode queue device entropy avif store"),
        (client.get(hybrid.headers["location"]), "store queue device entropy avif encode"),
        (
            client.post("/enhance", content=coarse.getvalue(), headers=headers),
            "decode queue device entropy finish encode",
        ),
        (
            client.post("/allocate?budget_bpp=1", files={"file": ("a.jpg", jpeg)}),
            "queue device entropy store",
        ),
    ]

    for answer, names in answers:
        assert list(stages(answer.headers["server-timing"])) == names.split()
    assert stages(made.headers["server-timing"])["device"] > 0


def test_it_can_be_switched_off(jpeg: bytes) -> None:
    settings = Settings(store="memory://", models=("psnr",), profile="psnr", server_timing=False)
    with TestClient(create_app(settings)) as client:
        made = client.post("/compress?bpp=1", content=jpeg, headers={"Content-Type": "image/jpeg"})
        assert "server-timing" not in made.headers
        assert "server-timing" not in client.get(made.headers["location"]).headers

"""A real server with one device thread: what asks for much effort neither delays the others nor passes its own deadline."""

from __future__ import annotations

import io
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path

from PIL import Image

from models.learned.codec import LearnedCodec
from tests.end_to_end.servers import Server


def picture(side: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 40).convert("RGB").save(file, "PNG")
    return file.getvalue()


def post(server: Server, query: str, body: bytes) -> tuple[Message, bytes]:
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://{server.address}/compress?{query}", body, headers), timeout=120) as answer:
        return answer.headers, answer.read()


def test_effort_is_bounded_and_in_nobodys_way(tmp_path: Path, codec: LearnedCodec) -> None:
    settings = {"ZIGGURAT_DEVICE_THREADS": "1", "ZIGGURAT_THREADS": "1", "ZIGGURAT_REQUEST_TIMEOUT_SECONDS": "14"}
    with Server(tmp_path, ZIGGURAT_MODELS="ms-ssim", **settings) as server, ThreadPoolExecutor(1) as clients:
        post(server, "bpp=1", picture(32))  # what a thumbnail takes, mostly overhead, is not what a pixel takes
        large = clients.submit(post, server, "bpp=0.5&effort=9", picture(832))  # 23 seconds of a core, or more
        others = 0
        while not large.done():
            headers, _ = post(server, "bpp=1", picture(64))
            assert headers["Ziggurat-Effort"] == "0"
            with urllib.request.urlopen(f"http://{server.address}/livez", timeout=5) as alive:
                assert alive.status == 200
            others += not large.done()
            time.sleep(0.05)
        headers, body = large.result()
        facts = json.loads(body)
        assert facts["effort"] == 9
        assert facts["effort_reached"] < 9
        assert headers["Ziggurat-Effort"] == str(facts["effort_reached"])
        assert facts["bpp"] <= 0.5
        assert others, "others were answered meanwhile"
        with urllib.request.urlopen(f"http://{server.address}/bitstreams/{facts['id']}", timeout=30) as stream:
            assert codec.decode([stream.read()])[0].width == 832
        with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=30) as metrics:
            assert b'ziggurat_refinements_total{outcome="cut"} 1.0' in metrics.read()

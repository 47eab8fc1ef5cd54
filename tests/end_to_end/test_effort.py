"""Effort on a real server with one device thread: it delays nobody else, and keeps its deadline."""

from __future__ import annotations

import io
import json
import math
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path

from PIL import Image

from models.learned.codec import LearnedCodec
from tests.end_to_end.servers import Server

TIMEOUT_SECONDS = 10
# Effort 9 is some 33 passes over a picture, and what ends it early takes three. At 1.5 times the
# deadline neither end is near: it cannot be complete, and three passes fit even when they are slow.
TOO_LONG = 1.5 * TIMEOUT_SECONDS


def picture(side: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 40).convert("RGB").save(file, "PNG")
    return file.getvalue()


def post(server: Server, query: str, body: bytes) -> tuple[Message, bytes]:
    """Compress a picture; raises HTTPError for anything but success, such as a missed deadline."""
    headers = {"Content-Type": "image/png", "Accept": "application/json"}
    request = urllib.request.Request(f"http://{server.address}/compress?{query}", body, headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.headers, answer.read()


def refine_among_others(server: Server, side: int) -> tuple[Message, bytes]:
    """Compress with effort 9 while others want something quick, and check that they get it."""
    answered_meanwhile = 0
    with ThreadPoolExecutor(1) as client:
        large = client.submit(post, server, "bpp=0.5&effort=9", picture(side))
        while not large.done():
            headers, _ = post(server, "bpp=1", picture(64))
            assert headers["Ziggurat-Effort"] == "0"
            with urllib.request.urlopen(f"http://{server.address}/livez", timeout=5) as alive:
                assert alive.status == 200
            answered_meanwhile += not large.done()
            time.sleep(0.05)
        assert answered_meanwhile, "others were answered while it was refined"
        return large.result()


def test_effort_is_bounded_and_in_nobodys_way(tmp_path: Path, codec: LearnedCodec) -> None:
    settings = {
        "ZIGGURAT_MODELS": codec.name,
        "ZIGGURAT_DEVICE_THREADS": "1",
        "ZIGGURAT_THREADS": "1",
        "ZIGGURAT_REQUEST_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "ZIGGURAT_MAX_BODY_BYTES": "60000000",  # what is too large for a fast machine is that large
    }
    with Server(tmp_path, **settings) as server:
        # The service learns from this what a pixel takes. That a thumbnail is mostly overhead must
        # not mislead it.
        post(server, "bpp=1", picture(32))
        # The picture grows until it is too large for this machine: the first one is small enough to
        # be complete, and tells how long effort 9 takes.
        side = 192
        refused = 0
        while True:
            begun = time.monotonic()
            try:
                headers, body = refine_among_others(server, side)
            except urllib.error.HTTPError as late:
                # Other programs took the cores in the middle of it: refused in words, and not cut.
                refused += 1
                if late.code != 503 or refused > 2:
                    raise
                side = int(0.8 * side)
                continue
            facts = json.loads(body)
            assert facts["effort"] == 9
            assert headers["Ziggurat-Effort"] == str(facts["effort_reached"])
            assert facts["bpp"] <= 0.5
            if facts["effort_reached"] < 9:
                break
            side = int(side * max(1.2, math.sqrt(TOO_LONG / (time.monotonic() - begun))))

        with urllib.request.urlopen(
            f"http://{server.address}/bitstreams/{facts['id']}", timeout=30
        ) as stream:
            assert codec.decode([stream.read()])[0].width == side
        with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=30) as metrics:
            assert b'ziggurat_refinements_total{outcome="cut"} 1.0' in metrics.read()

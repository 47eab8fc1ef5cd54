"""Fuzz target: a request to `POST /compress`, `POST /decompress` or what is stored, through the
whole app in this process.

An input is a request as HTTP/1.1 writes it: request line, headers, an empty line, the body. A
header `X-Chunk` says how many bytes of it arrive at a time. Whatever is asked, the answer is one
that the endpoint documents, every error is a problem with a type, no 500 occurs, and a picture that
comes back is of the size that its stream's header says.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from PIL import Image

from models.bitstream import Bitstream
from models.postprocess import model as post_model
from models.weights import registry
from service.app import create_app
from service.settings import Settings
from tests.fuzz import container, images
from tests.make_golden import FIXTURES, tiny_card, tiny_codec
from tests.post import install

_Headers = list[tuple[bytes, bytes]]
LIMIT = 1 << 16  # pixels, and bytes of a body


class _Service:
    """A running app with the tiny model alone, and a loop to ask it on."""

    def __init__(self) -> None:
        # The registry's models take a hundred times as long, and the fuzzer looks at the code
        # around them.
        registry.WEIGHTS = Path(tempfile.mkdtemp(prefix="ziggurat-fuzz-"))
        (registry.WEIGHTS / "tiny.safetensors").symlink_to(FIXTURES / "tiny.safetensors")
        post_model.WEIGHTS = registry.WEIGHTS / "postprocess"
        post_model.WEIGHTS.mkdir()
        install()
        tiny_card(tiny_codec().model_id).save(registry.WEIGHTS / "tiny.json")
        settings = Settings(
            store="memory://",
            models=("tiny",),
            profile="tiny",
            max_pixels=LIMIT,
            max_body_bytes=LIMIT,
            threads=1,
            delete_without_keys=True,
        )
        self._app = create_app(settings)
        self._loop = asyncio.new_event_loop()
        self._lifespan = self._app.router.lifespan_context(self._app)
        self._loop.run_until_complete(self._lifespan.__aenter__())
        document = self._app.openapi()["paths"]
        self.documented = {
            (re.sub(r"\{\w+\}", "*", path), method.upper()): {
                int(status) for status in operation["responses"]
            }
            for path, operations in document.items()
            for method, operation in operations.items()
        }

    def ask(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes, chunk: int
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer. Raises what the app raises."""
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        pieces = [body[start : start + chunk] for start in range(0, len(body), chunk)] or [b""]
        incoming = iter(
            [
                {"type": "http.request", "body": piece, "more_body": i + 1 < len(pieces)}
                for i, piece in enumerate(pieces)
            ]
        )
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            try:
                return next(incoming)
            except StopIteration:
                await asyncio.Event().wait()  # the client waits for its answer
                raise

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        self._loop.run_until_complete(self._app(scope, receive, send))
        answer = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return sent[0]["status"], answer, b"".join(message.get("body", b"") for message in sent[1:])


_SERVICE = _Service()
_STREAMS = container.seeds()
_IMAGES = images.seeds()


def seeds() -> dict[str, bytes]:
    """One request of every kind, plain and multipart."""
    stream, jpeg, png = _STREAMS["tiny-50"], _IMAGES["jpeg"], _IMAGES["png-alpha"]
    form = (
        b'--b\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n'
        b"Content-Type: image/png\r\n\r\n%s\r\n--b--\r\n"
    )
    multipart = "Content-Type: multipart/form-data; boundary=b"
    ours = "Content-Type: image/vnd.ziggurat"
    requests = {
        "decompress": ("POST /decompress", [ours], stream),
        "decompress-webp": ("POST /decompress?format=webp", ["X-Chunk: 100"], stream),
        "decompress-accept": (
            "POST /decompress",
            [ours, "Accept: image/png;q=0.5, image/jpeg, */*;q=0.1"],
            _STREAMS["alpha"],
        ),
        "decompress-form": ("POST /decompress", [multipart, "X-Chunk: 7"], form % (b"file", stream)),
        "decompress-length": ("POST /decompress", ["Content-Length: 99999999"], stream),
        "compress": ("POST /compress?bpp=2", ["Content-Type: image/jpeg"], jpeg),
        "compress-json": (
            "POST /compress?max_bytes=400&profile=tiny&report=psnr,ms-ssim",
            ["Accept: application/json"],
            png,
        ),
        "compress-quality": ("POST /compress?quality=50&strict=true", [], jpeg),
        "compress-minima": (
            "POST /compress?min_psnr=20&min_ssimulacra2=10&max_bytes=900&codec=auto",
            ["Accept: application/json"],
            jpeg,
        ),
        "compress-hybrid": ("POST /compress?bpp=2&codec=hybrid&report=psnr", [], png),
        "compress-auto": ("POST /compress?bpp=2&codec=auto", ["Accept: application/json"], jpeg),
        "decompress-hybrid": ("POST /decompress", [ours], _STREAMS["hybrid-alpha"]),
        "compress-form": ("POST /compress?bpp=0.5&strict=1", [multipart], form % (b"file", png)),
        "compress-other-field": ("POST /compress?bpp=1", [multipart, "X-Chunk: 1"], form % (b"picture", b"")),
        "enhance": ("POST /enhance", ["Content-Type: image/jpeg"], _IMAGES["jpeg-coarse"]),
        "enhance-form": (
            "POST /enhance?format=jpeg",
            [multipart, "X-Chunk: 50"],
            form % (b"file", _IMAGES["webp-coarse"]),
        ),
        "encode": ("POST /encode?format=webp&max_bytes=900&report=psnr", ["Content-Type: image/jpeg"], jpeg),
        "encode-form": ("POST /encode?format=jpg&max_bytes=9", [multipart], form % (b"file", png)),
        "page": ("GET /?from=%00", [], b""),
        "page-file": ("GET /web/..%2f..%2fapp.py", ['If-None-Match: "a", *'], b""),
        "stored": (f"GET /decompress/{'0' * 64}", ['If-None-Match: W/"a", *'], b""),
        "stored-head": (f"HEAD /decompress/{'0' * 64}?format=avif", [], b""),
        "bitstream": (f"GET /bitstreams/{'0' * 64}", [], b""),
        "info": ("GET /bitstreams/..%2f..%2fa/info", [], b""),
        "delete": ("DELETE /bitstreams/%00", [], b""),
        "link": (f"POST /bitstreams/{'0' * 64}/links?seconds=60", [], b""),
        "signed": (f"GET /bitstreams/{'0' * 64}?expires=9&signature=%ff", [], b""),
        "watched": ("POST /compress?bpp=2", [f"Ziggurat-Progress: {'a' * 32}", "X-Chunk: 99"], jpeg),
        "progress": (f"GET /progress/{'a' * 32}", [], b""),
        "models": ("GET /models", [], b""),
        "service-info": ("GET /info", [], b""),
    }
    return {
        name: "\r\n".join([line, *headers, "\r\n"]).encode() + body
        for name, (line, headers, body) in requests.items()
    }


def check(data: bytes) -> str:
    """Ask, and hold the answer against what is promised."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    method, _, target = line.partition(" ")
    headers = [
        (name.strip().lower(), value.strip())
        for name, colon, value in (field.partition(":") for field in fields)
        if colon
    ]
    if not any(name == "host" for name, _ in headers):
        headers.append(("host", "localhost"))  # without it everything is refused
    chunk = next(
        (
            int(value)
            for name, value in headers
            if name == "x-chunk" and value.isdecimal() and 0 < int(value) < 1000
        ),
        1 << 16,
    )
    path = target.partition("?")[0]
    if (
        not path.startswith("/")
        or not target.isascii()
        or not target.isprintable()
        or not method.isalpha()
        or len(body) > 200 * chunk
    ):
        return "not asked"  # the HTTP server refuses it

    status, answer, content = _SERVICE.ask(
        method, target, [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers], body, chunk
    )

    parts = path.split("/")
    route = "/".join([*parts[:2], "*", *parts[3:]]) if len(parts) > 2 else path
    documented = _SERVICE.documented.get((route, method), {400, 403, 404, 405, 200, 307, 421})
    assert status in documented, f"{method} {route} does not document {status}"
    if status >= 400 and method != "HEAD":
        assert answer["content-type"] == "application/problem+json", answer
        problem = json.loads(content)
        assert problem["status"] == status
        assert problem["type"]
        assert status not in {429, 503} or int(answer["retry-after"]) > 0
    if status == 200 and route == "/decompress" and b"multipart" not in head.lower():
        stream = Bitstream.parse(body)
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (stream.width, stream.height)
    if status == 201 and answer["content-type"] == "image/vnd.ziggurat":
        Bitstream.parse(content)
    return f"{method if method in {'GET', 'HEAD', 'POST', 'DELETE'} else 'other'} {status}"


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Either the head, or the body as what it is: a stream or a PNG with right checksums, an image,
    a form.
    """
    import atheris

    rng = random.Random(seed)
    head, _, body = data.partition(b"\r\n\r\n")
    match rng.choice(("head", "body", "body", "stream", "image", "anything")):
        case "head":
            head = atheris.Mutate(head, 1000)
        case "body" if body.startswith(b"ZGT"):
            body = container.mutate(body, max_size, seed)
        case "body":
            body = images.mutate(body, max_size, seed)
        case "stream":
            body = container.mutate(rng.choice(list(_STREAMS.values())), max_size, seed)
        case "image":
            body = images.mutate(rng.choice(list(_IMAGES.values())), max_size, seed)
        case _:
            return bytes(atheris.Mutate(data, max_size))
    return (head + b"\r\n\r\n" + body)[:max_size]

"""What users do, good and bad, as operations for the open model; each knows which statuses are right, and remembers the others."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import httpx2

from benchmarks.open_model import Answer
from benchmarks.pictures import SIZES, broken, coarse, damaged, picture
from benchmarks.server import Server

BUSY = {429, 503}  # right for whatever takes work, with a Retry-After
OURS = "image/vnd.ziggurat"
REMEMBERED = 300  # streams that operations go back to


class Traffic:
    """Operations against one server that has stored some streams. `unexpected` counts answers that should not have been."""

    def __init__(self, server: Server, http: httpx2.AsyncClient, rng: random.Random, stored: dict[str, bytes]) -> None:
        self._server, self._http, self._rng = server, http, rng
        self._streams = list(stored.values())  # to send along, whether or not they are stored by then
        self._stored = stored
        self.unexpected: Counter[str] = Counter()
        self._operations = {
            self.compress: 40,
            self.compress_as_form: 10,
            self.decompress_stored: 15,
            self.decompress_sent: 8,
            self.enhance: 5,
            self.unchanged: 5,
            self.fetch: 5,
            self.delete: 3,
            self.broken_upload: 6,
            self.broken_stream: 4,
            self.wrong_request: 4,
            self.too_long: 2,
            self.hang_up: 4,
        }

    async def operation(self) -> Answer:
        """One of them, as often as its weight says."""
        chosen = self._rng.choices(list(self._operations), list(self._operations.values()))[0]
        return await chosen()

    async def compress(self) -> Answer:
        """An image to a budget, or to a quality; the size is sometimes below what the model can do."""
        target = self._rng.choice(("bpp=0.15", "bpp=0.5", "max_bytes=20000", "quality=40", "bpp=0.15&profile=psnr", "bpp=0.001"))
        answer = await self._http.post(f"{self._server.url}/compress?{target}", content=self._picture())
        if answer.status_code == 201:
            self._remember(answer)
        return self._checked("compress", answer, {201} | BUSY)

    async def compress_as_form(self) -> Answer:
        """The same as a form, with the facts as the answer."""
        answer = await self._http.post(
            f"{self._server.url}/compress?bpp=0.3", files={"file": self._picture()}, headers={"Accept": "application/json"}
        )
        return self._checked("compress form", answer, {201} | BUSY)

    async def decompress_stored(self) -> Answer:
        """A stream of before, in one of the formats."""
        image_format = self._rng.choice(("png", "webp", "jpeg", "avif"))
        answer = await self._http.get(f"{self._server.url}/decompress/{self._id()}?format={image_format}")
        return self._checked("decompress stored", answer, {200, 404} | BUSY)

    async def decompress_sent(self) -> Answer:
        """A stream sent along."""
        answer = await self._http.post(f"{self._server.url}/decompress", content=self._stream(), headers={"Content-Type": OURS})
        return self._checked("decompress sent", answer, {200} | BUSY)

    async def enhance(self) -> Answer:
        """A coarse file."""
        return self._checked("enhance", await self._http.post(f"{self._server.url}/enhance", content=coarse()), {200} | BUSY)

    async def unchanged(self) -> Answer:
        """A conditional request that matches."""
        stream_id = self._id()
        headers = {"If-None-Match": f'W/"{stream_id}.png"'}
        answer = await self._http.get(f"{self._server.url}/decompress/{stream_id}?format=png", headers=headers)
        return self._checked("conditional", answer, {304, 404} | BUSY)

    async def fetch(self) -> Answer:
        """A stored stream, its facts or its head."""
        method, path = self._rng.choice((("GET", ""), ("HEAD", ""), ("GET", "/info")))
        answer = await self._http.request(method, f"{self._server.url}/bitstreams/{self._id()}{path}")
        return self._checked("bitstream", answer, {200, 404} | BUSY)

    async def delete(self) -> Answer:
        """One stream less."""
        stream_id = self._id()
        self._stored.pop(stream_id, None)
        return self._checked("delete", await self._http.delete(f"{self._server.url}/bitstreams/{stream_id}"), {204, 404} | BUSY)

    async def broken_upload(self) -> Answer:
        """Something that is no image, or none that can be compressed."""
        name, (body, status) = self._rng.choice(list(broken().items()))
        answer = await self._http.post(f"{self._server.url}/compress?bpp=0.5", content=body)
        return self._checked(f"broken upload: {name}", answer, {status} | BUSY)

    async def broken_stream(self) -> Answer:
        """A stream that cannot be decoded."""
        fault = self._rng.choice(("truncated", "damaged", "foreign", "newer", "unknown-model"))
        body = damaged(self._stream(), fault)
        answer = await self._http.post(f"{self._server.url}/decompress", content=body, headers={"Content-Type": OURS})
        return self._checked(f"broken stream: {fault}", answer, {422} | BUSY)

    async def wrong_request(self) -> Answer:
        """Parameters, types and ids that make no sense."""
        small = picture(*SIZES[1][:3])
        method, path, headers, status = self._rng.choice(
            (
                ("POST", "/compress?bpp=1&max_bytes=5", {}, 422),
                ("POST", "/compress", {}, 422),
                ("POST", "/compress?bpp=-1", {}, 422),
                ("POST", "/compress?bpp=1&profile=none", {}, 422),
                ("POST", "/compress?max_bytes=1&strict=true", {}, 422),
                ("POST", "/compress?bpp=1", {"Accept": "text/html"}, 406),
                ("POST", "/compress?bpp=1", {"Content-Type": "application/pdf"}, 415),
                ("GET", f"/decompress/{'0' * 64}", {}, 404),
                ("GET", "/bitstreams/..%2fsecret", {}, 404),
            )
        )
        content = small if method == "POST" else None
        answer = await self._http.request(method, f"{self._server.url}{path}", content=content, headers=headers)
        return self._checked(f"wrong: {path[:40]}", answer, {status} | BUSY)

    async def too_long(self) -> Answer:
        """A body that declares more than is allowed: refused before it is sent."""
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
        try:
            writer.write(b"POST /compress?bpp=1 HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n")
            status = int((await reader.readline()).split()[1])
        finally:
            writer.close()
        if status not in {413} | BUSY:
            self.unexpected[f"too long: {status}"] += 1
        return Answer("too long", status)

    async def hang_up(self) -> Answer:
        """A client that leaves: amid its body, or before its answer."""
        body = self._picture()
        sent = body[: len(body) // 2] if self._rng.random() < 0.5 else body
        _, writer = await asyncio.open_connection(self._server.host, self._server.port)
        writer.write(
            b"POST /compress?bpp=0.2 HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(body) + sent
        )
        await asyncio.sleep(self._rng.random() / 2)
        writer.transport.abort()
        return Answer("hang up", 299)  # nobody waits for a status

    def _picture(self) -> bytes:
        width, height, image_format, _, _ = self._rng.choices(SIZES, [entry[4] for entry in SIZES])[0]
        return picture(width, height, image_format)

    def _remember(self, answer: httpx2.Response) -> None:
        if len(self._stored) < REMEMBERED:
            self._stored[answer.headers["location"].rpartition("/")[2]] = answer.content

    def _id(self) -> str:
        return self._rng.choice(list(self._stored)) if self._stored else "0" * 64

    def _stream(self) -> bytes:
        return self._rng.choice(self._streams)

    def _checked(self, operation: str, answer: httpx2.Response, right: set[int]) -> Answer:
        status = answer.status_code
        retry_after = answer.headers.get("retry-after")
        if status not in right or (status in BUSY and not (retry_after or "").isdecimal()):
            self.unexpected[f"{operation}: {status}"] += 1
        elif status >= 400 and answer.request.method != "HEAD" and answer.headers["content-type"] != "application/problem+json":
            self.unexpected[f"{operation}: {status} is no problem"] += 1
        return Answer(operation, status, retry_after=retry_after)

"""Traffic: all that users do, good and bad, as operations for the open model.

Each operation knows which statuses are right, and remembers the others.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import httpx2

from benchmarks.open_model import Answer
from benchmarks.pictures import SIZES, broken, coarse, damaged, picture
from benchmarks.server import Server

BUSY = {429, 503}  # right for whatever takes work, with a Retry-After
MEDIA_TYPE = "image/vnd.ziggurat"
PROBLEM_TYPE = "application/problem+json"
MOST_REMEMBERED = 300  # streams that operations go back to


class Traffic:
    """Operations against one server that has stored some streams.

    Args:
        server: where requests go.
        http: sends them.
        rng: chooses them.
        stored: streams by their ids.

    Attributes:
        unexpected: number of answers that should not have been, by a description.
    """

    def __init__(
        self,
        server: Server,
        http: httpx2.AsyncClient,
        rng: random.Random,
        stored: dict[str, bytes],
    ) -> None:
        self._server = server
        self._http = http
        self._rng = rng
        self._streams = list(stored.values())  # to send along, be they stored by then or not
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
        """Choose one of them, as often as its weight says, and do it."""
        operations = list(self._operations)
        (chosen,) = self._rng.choices(operations, list(self._operations.values()))
        return await chosen()

    async def compress(self) -> Answer:
        """Compress to a budget, sometimes below what the model can do, or to a quality."""
        targets = ("bpp=0.15", "bpp=0.5", "max_bytes=20000", "quality=40", "bpp=0.15&profile=psnr")
        target = self._rng.choice((*targets, "bpp=0.001"))
        answer = await self._http.post(f"{self._server.url}/compress?{target}", content=self._picture())
        if answer.status_code == 201:
            self._remember(answer)
        return self._checked("compress", answer, {201} | BUSY)

    async def compress_as_form(self) -> Answer:
        """Compress what a form sends, with the facts as the answer."""
        answer = await self._http.post(
            f"{self._server.url}/compress?bpp=0.3",
            files={"file": self._picture()},
            headers={"Accept": "application/json"},
        )
        return self._checked("compress form", answer, {201} | BUSY)

    async def decompress_stored(self) -> Answer:
        """Decompress a stream of before, to one of the formats."""
        image_format = self._rng.choice(("png", "webp", "jpeg", "avif"))
        url = f"{self._server.url}/decompress/{self._id()}?format={image_format}"
        answer = await self._http.get(url)
        return self._checked("decompress stored", answer, {200, 404} | BUSY)

    async def decompress_sent(self) -> Answer:
        """Decompress a stream that is sent along."""
        answer = await self._decompress(self._stream())
        return self._checked("decompress sent", answer, {200} | BUSY)

    async def enhance(self) -> Answer:
        """Enhance a coarse file."""
        answer = await self._http.post(f"{self._server.url}/enhance", content=coarse())
        return self._checked("enhance", answer, {200} | BUSY)

    async def unchanged(self) -> Answer:
        """Send a conditional request that matches."""
        url = f"{self._server.url}/decompress/{self._id()}?format=png"
        head = await self._http.head(url)
        answer = await self._http.get(url, headers={"If-None-Match": head.headers.get("ETag", "*")})
        return self._checked("conditional", answer, {304, 404} | BUSY)

    async def fetch(self) -> Answer:
        """Fetch a stored stream, its facts or its head."""
        method, path = self._rng.choice((("GET", ""), ("HEAD", ""), ("GET", "/info")))
        answer = await self._http.request(method, f"{self._server.url}/bitstreams/{self._id()}{path}")
        return self._checked("bitstream", answer, {200, 404} | BUSY)

    async def delete(self) -> Answer:
        """Delete a stream."""
        stream_id = self._id()
        self._stored.pop(stream_id, None)
        answer = await self._http.delete(f"{self._server.url}/bitstreams/{stream_id}")
        return self._checked("delete", answer, {204, 404} | BUSY)

    async def broken_upload(self) -> Answer:
        """Send something that is no picture, or none that can be compressed."""
        name, (body, status) = self._rng.choice(list(broken().items()))
        answer = await self._http.post(f"{self._server.url}/compress?bpp=0.5", content=body)
        return self._checked(f"broken upload: {name}", answer, {status} | BUSY)

    async def broken_stream(self) -> Answer:
        """Send a stream that cannot be decoded."""
        fault = self._rng.choice(("truncated", "damaged", "foreign", "newer", "unknown-model"))
        answer = await self._decompress(damaged(self._stream(), fault))
        return self._checked(f"broken stream: {fault}", answer, {422} | BUSY)

    async def wrong_request(self) -> Answer:
        """Send parameters, types and ids that make no sense."""
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
        answer = await self._http.request(
            method, f"{self._server.url}{path}", content=content, headers=headers
        )
        return self._checked(f"wrong: {path[:40]}", answer, {status} | BUSY)

    async def too_long(self) -> Answer:
        """Declare a larger body than is allowed: it is refused before it is sent."""
        reader, writer = await asyncio.open_connection(self._server.host, self._server.port)
        try:
            writer.write(_head("/compress?bpp=1", 1_000_000_000))
            status = int((await reader.readline()).split()[1])
        finally:
            writer.close()
        if status not in {413} | BUSY:
            self.unexpected[f"too long: {status}"] += 1
        return Answer("too long", status)

    async def hang_up(self) -> Answer:
        """Leave amid the body, or before the answer."""
        body = self._picture()
        sent = body[: len(body) // 2] if self._rng.random() < 0.5 else body
        _, writer = await asyncio.open_connection(self._server.host, self._server.port)
        writer.write(_head("/compress?bpp=0.2", len(body)) + sent)
        await asyncio.sleep(self._rng.random() / 2)
        writer.transport.abort()
        return Answer("hang up", 299)  # nobody waits for a status

    async def _decompress(self, stream: bytes) -> httpx2.Response:
        url = f"{self._server.url}/decompress"
        return await self._http.post(url, content=stream, headers={"Content-Type": MEDIA_TYPE})

    def _picture(self) -> bytes:
        (entry,) = self._rng.choices(SIZES, [entry[4] for entry in SIZES])
        width, height, image_format, _, _ = entry
        return picture(width, height, image_format)

    def _remember(self, answer: httpx2.Response) -> None:
        if len(self._stored) < MOST_REMEMBERED:
            self._stored[answer.headers["location"].rpartition("/")[2]] = answer.content

    def _id(self) -> str:
        return self._rng.choice(list(self._stored)) if self._stored else "0" * 64

    def _stream(self) -> bytes:
        return self._rng.choice(self._streams)

    def _checked(self, operation: str, answer: httpx2.Response, right: set[int]) -> Answer:
        """Remember an answer that is not right."""
        status = answer.status_code
        retry_after = answer.headers.get("retry-after")
        has_body = answer.request.method != "HEAD"
        if status not in right or (status in BUSY and not (retry_after or "").isdecimal()):
            self.unexpected[f"{operation}: {status}"] += 1
        elif status >= 400 and has_body and answer.headers["content-type"] != PROBLEM_TYPE:
            self.unexpected[f"{operation}: {status} is no problem"] += 1
        return Answer(operation, status, retry_after=retry_after)


def _head(path: str, length: int) -> bytes:
    """Make the head of a POST that announces a PNG file of so many bytes."""
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: image/png")
    return "\r\n".join((*lines, f"Content-Length: {length}", "", "")).encode()

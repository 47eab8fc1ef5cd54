"""A bystander: what others wait for while something happens to a server.

    python -m benchmarks.bystander HOST PORT

Every half second, each on a connection of its own: a small compression, a decompression of a stored
stream, and /livez. Each answer is a line of JSON on standard output. It ends when standard input
does: it waits a little for what is still asked, and tells of that as well. It is a process of its
own, so that its times are the server's and not those of whoever attacks.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from benchmarks.pictures import small

PERIOD_SECONDS = 0.5  # between two requests of a kind
LAST_SECONDS = 3.0  # that an answer is still waited for in the end
KINDS = ("compress", "decompress", "livez")


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a bystander.

    Attributes:
        kind: one of `KINDS`.
        status: of HTTP; 0 when there was no answer.
        seconds: from when it was due to the answer's last byte.
    """

    kind: str
    status: int
    seconds: float


class Bystander:
    """One who asks a server for small things.

    Args:
        host: the server's address.
        port: its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._stream_id = ""

    async def ask(self, kind: str) -> int:
        """Send one request, and return its status; 0 when there is none."""
        match kind:
            case "compress":
                status, headers = await self._exchange("POST", "/compress?quality=50", small())
                if status == 201:
                    self._stream_id = headers.partition("etag: ")[2].strip('"')[:64]
                return status
            case "decompress":
                return (await self._exchange("GET", f"/decompress/{self._stream_id}"))[0]
            case _:
                return (await self._exchange("GET", "/livez"))[0]

    async def _exchange(self, method: str, target: str, body: bytes = b"") -> tuple[int, str]:
        try:
            reader, writer = await asyncio.open_connection(*self._address)
        except OSError:
            return 0, ""
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            writer.write(head.encode() + body)
            answer = await reader.read()
        except OSError:
            return 0, ""
        finally:
            writer.close()
        answered, ended, _ = answer.partition(b"\r\n\r\n")
        return (int(answered.split(maxsplit=2)[1]) if ended else 0), answered.decode("latin-1").lower()


async def run(host: str, port: int) -> None:
    """Ask and tell, until standard input ends."""
    bystander = Bystander(host, port)
    while await bystander.ask("compress") != 201:
        await asyncio.sleep(PERIOD_SECONDS)  # every decompression needs a stream
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, stopping.set)
    waiting: dict[asyncio.Task[None], tuple[str, float]] = {}

    async def turn(kind: str, due: float) -> None:
        status = await bystander.ask(kind)
        _tell(Turn(kind, status, time.perf_counter() - due))

    due = time.perf_counter()
    while not stopping.is_set():
        for kind in KINDS:
            task = asyncio.create_task(turn(kind, due))
            waiting[task] = (kind, due)
            task.add_done_callback(waiting.pop)
        due += PERIOD_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), max(0.0, due - time.perf_counter()))
    loop.remove_reader(sys.stdin)  # its end can be read again and again
    if waiting:
        await asyncio.wait(waiting, timeout=LAST_SECONDS)
    for kind, due in waiting.values():
        _tell(Turn(kind, 0, time.perf_counter() - due))


def _tell(turn: Turn) -> None:
    print(json.dumps(asdict(turn)), flush=True)


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], int(sys.argv[2])))

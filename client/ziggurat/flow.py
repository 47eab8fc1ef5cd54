"""Answers that are taken in chunks and never held, without any input or output.

A flow is a state and a conversation for each next chunk, which a client drives. A stored stream is
taken up where a lost connection left it; its id tells at the end whether all of it is right.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import IO

from ziggurat.conversation import (
    Answer,
    Conversation,
    Incoming,
    Patience,
    Read,
    Receive,
    Request,
    Sleep,
    content_digest,
    refusal,
)
from ziggurat.errors import (
    ConnectionLostError,
    DamagedAnswerError,
    OverloadedError,
    StatusError,
    UnavailableError,
    UnreachableError,
    ZigguratError,
)

# `Patience` decides which of them.
_PERHAPS_AGAIN = (UnreachableError, ConnectionLostError, OverloadedError, UnavailableError, StatusError)

Target = str | os.PathLike[str] | IO[bytes]
"""The path of a file, or a file that is open for writing bytes."""


class Flow:
    """One answer in chunks.

    Args:
        begin: makes the request, which may take reading a file.
        patience: of the call.
        stream_id: of a stored stream, which a range can be asked of; None for other answers.

    Attributes:
        opened: what came so far, of every attempt; its client closes it.
    """

    def __init__(
        self, begin: Callable[[], Conversation[Request]], patience: Patience, stream_id: str | None = None
    ) -> None:
        self.opened: list[Incoming] = []
        self._incoming: Incoming | None = None
        self._begin = begin
        self._patience = patience
        self._stream_id = stream_id
        self._request: Request | None = None
        self._attempt = 0
        self._received = 0
        self._digest = sha256()

    def next(self) -> Conversation[bytes]:
        """Receive the next chunk; an empty one ends it.

        Raises:
            ZigguratError: what the service answered, or that it did not.
            DamagedAnswerError: what has come is not what was sent, which only the end tells.
        """
        while True:
            try:
                if self._incoming is None:
                    self._incoming = yield from self._open()
                chunk: bytes = yield Read(self._incoming, self._patience)
            except _PERHAPS_AGAIN as error:
                yield from self._wait(error)
                continue
            self._received += len(chunk)
            self._digest.update(chunk)
            if not chunk:
                self._check()
            return chunk

    def _open(self) -> Conversation[Incoming]:
        if self._request is None:
            self._request = yield from self._begin()
        headers = {}
        if self._received:
            headers = {"Range": f"bytes={self._received}-", "If-Range": f'"{self._stream_id}"'}
        request = replace(self._request, headers=headers)
        incoming: Incoming = yield Receive(request, self._patience)
        self.opened.append(incoming)
        if not 200 <= incoming.status < 300:
            content = b""
            while chunk := (yield Read(incoming, self._patience)):
                content += chunk
            raise refusal(request, Answer(incoming.status, incoming.headers, content))
        start = incoming.headers.get("content-range", "bytes 0-").removeprefix("bytes ").partition("-")[0]
        if start != str(self._received):
            raise DamagedAnswerError(f"the service did not go on at byte {self._received}")
        return incoming

    def _wait(self, error: ZigguratError) -> Conversation[None]:
        """Wait for another attempt, or raise `error` where there is none."""
        resumes = not self._received or self._stream_id is not None
        wait = None
        if self._request is not None and resumes:
            wait = self._patience.wait(error, self._request, self._attempt)
        if wait is None:
            raise error
        self._attempt += 1
        self._incoming = None
        yield Sleep(wait)

    def _check(self) -> None:
        digest = self._digest.digest()
        if self._stream_id is not None:
            sound = digest.hex() == self._stream_id
        else:
            told = self.opened[-1].headers.get("content-digest", "")
            sound = not told.startswith("sha-256=") or told == content_digest(digest)
        if not sound:
            raise DamagedAnswerError("the answer was damaged on its way: its digest is another")


@contextmanager
def written(to: Target) -> Iterator[IO[bytes]]:
    """Open a target to write to. A file at a path is there when all of it is, and not before."""
    if not isinstance(to, str | os.PathLike):
        yield to
        return
    path = Path(to)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

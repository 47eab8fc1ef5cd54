"""What the workers of one service ask each other, over Unix sockets in a folder of their own.

A request may come to any of them. What only one of them knows, and all that `/metrics` adds up, is
asked for here. The folder is this user's alone, so that what comes from it can be unpickled.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from .workers import Worker

_SECONDS = 2.0  # a scrape may take ten; whoever takes longer is stuck
_log = logging.getLogger(__name__)

Answerer = Callable[..., Awaitable[object]]


class Siblings:
    """The other workers. For one event loop; as a context manager it answers their questions.

    Args:
        worker: this process; None where it is the only one.
        answers: functions by the names that others ask for.
    """

    def __init__(self, worker: Worker | None, answers: Mapping[str, Answerer]) -> None:
        self.worker = worker
        self._answers = answers
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        if self.worker is not None:
            self._server = await asyncio.start_unix_server(self._serve, sock=self.worker.listener)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def ask(self, question: str, *arguments: object) -> dict[int, Any]:
        """Ask all others at once.

        Returns:
            The answer of each that gave one in time, by its number.
        """
        if self.worker is None:
            return {}
        others = self.worker.others()
        answers = await asyncio.gather(
            *(self._ask(other, (question, arguments)) for other in others), return_exceptions=True
        )
        given = {}
        for other, answer in zip(others, answers, strict=True):
            if isinstance(answer, BaseException):
                _log.warning(
                    "a worker did not answer another", extra={"worker": other, "error": repr(answer)}
                )
            else:
                given[other] = answer
        return given

    async def _ask(self, other: int, question: object) -> object:
        assert self.worker is not None
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(self.worker.sockets / str(other))
            try:
                writer.write(pickle.dumps(question))
                writer.write_eof()
                return pickle.loads(await reader.read())
            finally:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                question, arguments = pickle.loads(await reader.read())
                writer.write(pickle.dumps(await self._answers[question](*arguments)))
                await writer.drain()
        except (OSError, EOFError):
            pass  # whoever asked has gone, and TimeoutError is an OSError
        finally:
            writer.close()

"""Large answers, handed to the server no faster than the client takes them."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..inflight import Answers

_PIECE = 64 * 1024  # bytes; a server's own buffer for a client that does not read holds about one


class AnswerMiddleware:
    """Sends bodies in pieces, and counts what is not sent yet.

    A server takes a body of any size at once and calls it sent, however long its client takes.
    In pieces the answer ends with its last bytes, and what waits in memory is known.
    """

    def __init__(self, app: ASGIApp, answers: Answers) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def answer(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= _PIECE:
                await send(message)
                return
            more_body = message.get("more_body", False)
            with self._answers.held(len(body)):
                for start in range(0, len(body), _PIECE):
                    ends = start + _PIECE >= len(body)
                    piece = body[start : start + _PIECE]
                    await send(
                        {"type": "http.response.body", "body": piece, "more_body": more_body or not ends}
                    )

        await self._app(scope, receive, answer)

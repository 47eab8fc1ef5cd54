"""The service as both clients know it: its address, the caller's key, and the time for a call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2

from ziggurat.conversation import Incoming, Patience, Receive, Send
from ziggurat.errors import ConnectionLostError, DamagedAnswerError, TimedOutError, UnreachableError
from ziggurat.operations import Operations
from ziggurat.version import VERSION

_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Connection:
    """The way to a service.

    Attributes:
        url: of the service, without a slash at its end.
        api_key: None for a service without keys.
        timeout: seconds for a call, waits and repetitions included; None for any number.
        retries: times that a request is sent again, at most.
    """

    url: str
    api_key: str | None = field(repr=False)
    timeout: float | None
    retries: int

    @classmethod
    def to(cls, url: str | None, api_key: str | None, timeout: float | None, retries: int) -> Connection:
        """Take `ZIGGURAT_URL` and `ZIGGURAT_API_KEY` from the environment where no URL is given.

        The environment's key goes to the environment's service alone. Raises ValueError for no URL,
        one that is not of HTTP, or a key that is none.
        """
        if url is None:
            url = os.environ.get("ZIGGURAT_URL")
            api_key = api_key or os.environ.get("ZIGGURAT_API_KEY")
        if not url:
            raise ValueError("name the service: ziggurat.Client('http://localhost:8000'), or ZIGGURAT_URL")
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"a URL begins with http:// or https://, unlike {url!r}")
        api_key = (api_key or "").strip()
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the API key has characters that no key has")
        return cls(url.rstrip("/"), api_key or None, timeout, retries)

    def within(self, timeout: float | None) -> Connection:
        """Return this connection with another timeout."""
        return replace(self, timeout=timeout)

    def operations(self) -> Operations:
        """Begin a call: its time runs from now."""
        return Operations(Patience(self.timeout, self.retries))

    def arguments(self, step: Send | Receive, content: Any) -> dict[str, Any]:
        """Make the arguments of httpx2's `build_request` for a request of this service.

        `content` is the body's chunks, as one kind of client takes them.
        """
        request, left = step.request, step.patience.left()
        # Digests are of what is sent; the service itself compresses nothing.
        headers = {"Accept": request.accept, "Accept-Encoding": "identity", **request.headers}
        headers["User-Agent"] = f"ziggurat-client/{VERSION}"
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        if request.body is not None:
            headers["Content-Type"] = request.body.media_type
            if request.body.length is not None:
                headers["Content-Length"] = str(request.body.length)
        return {
            "method": request.method,
            "url": f"{self.url}/{request.path}",
            "params": dict(request.parameters),
            "headers": headers,
            "content": None if request.body is None else content,
            "timeout": httpx2.Timeout(left, connect=_connect_seconds(left)),
        }

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what httpx2 raises into `ServiceError`s."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise UnreachableError(f"no connection to {self.url}: {_told(error)}") from error
        except httpx2.TimeoutException as error:
            raise TimedOutError(f"{self.url} did not answer within {self.timeout} seconds") from error
        except httpx2.DecodingError as error:
            raise DamagedAnswerError(f"the answer of {self.url} cannot be decoded: {error}") from error
        except (httpx2.TransportError, httpx2.StreamError) as error:
            raise ConnectionLostError(f"the connection to {self.url} was lost: {_told(error)}") from error


def incoming_of(response: httpx2.Response, chunks: Any, close: Callable[[], Any]) -> Incoming:
    """Make what comes of a response whose body is not read."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Incoming(response.status_code, headers, chunks, close)


def _connect_seconds(seconds: float | None) -> float:
    return _CONNECT_SECONDS if seconds is None else min(seconds, _CONNECT_SECONDS)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__

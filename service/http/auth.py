"""API keys, as `Authorization: Bearer …` or `X-API-Key: …`.

Several may be valid at once, so that they can be rotated.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

_Bearer = Annotated[
    HTTPAuthorizationCredentials | None, Security(HTTPBearer(scheme_name="bearer", auto_error=False))
]
_Header = Annotated[
    str | None, Security(APIKeyHeader(name="X-API-Key", scheme_name="api-key", auto_error=False))
]


class UnauthorizedError(Exception):
    """The request carries no valid API key. Its text is fit for users."""


class ApiKeys:
    """A dependency of endpoints that require a key.

    It runs before parameters are validated and before the body is read.
    """

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]

    async def __call__(self, bearer: _Bearer, header: _Header) -> None:
        """Check the keys of a request.

        Raises:
            UnauthorizedError: it carries none, or none that is valid.
        """
        presented = [key for key in (bearer.credentials if bearer else None, header) if key]
        if not presented:
            raise UnauthorizedError("this needs an API key, as Authorization: Bearer or as X-API-Key")
        if not sum(self._knows(key) for key in presented):
            raise UnauthorizedError("the API key is not valid")

    def _knows(self, key: str) -> bool:
        # Digests have one length, and a sum has no early exit: the time that this takes reveals
        # neither a key's length nor which key is nearly right.
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()

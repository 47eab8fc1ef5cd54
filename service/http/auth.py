"""Who may do what: API keys, as `Authorization: Bearer …` or `X-API-Key: …`, and their roles.

Several keys may be valid at once, so that they can be rotated.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

from ..settings import ApiKey, Role
from .links import Links

_Bearer = Annotated[
    HTTPAuthorizationCredentials | None, Security(HTTPBearer(scheme_name="bearer", auto_error=False))
]
_Header = Annotated[
    str | None, Security(APIKeyHeader(name="X-API-Key", scheme_name="api-key", auto_error=False))
]

_NEEDED = {"GET": Role.READ, "HEAD": Role.READ, "POST": Role.WRITE, "DELETE": Role.DELETE}


class UnauthorizedError(Exception):
    """The request carries no valid API key. Its text is fit for users."""


class ForbiddenError(Exception):
    """Who sent the request may not do this. Its text is fit for users."""


class ApiKeys:
    """A dependency of endpoints that require a key whose role includes the request's method.

    It runs before parameters are validated and before the body is read. In place of a key, a signed
    link opens its stream.

    Args:
        keys: each `key` or `key:role`, as in the settings.
        links: checks links.
    """

    def __init__(self, keys: Iterable[SecretStr], links: Links) -> None:
        self._links = links
        parsed = [ApiKey.parse(key.get_secret_value()) for key in keys]
        self._roles = [(_digest(key.secret.get_secret_value()), key.role) for key in parsed]

    async def __call__(self, request: Request, bearer: _Bearer, header: _Header) -> None:
        """Check the keys of a request. Of two, the one that allows more counts.

        Raises:
            UnauthorizedError: it carries none, or none that is valid.
            ForbiddenError: its key is not for this method.
            BadLinkError, ExpiredLinkError: it has no key, and a link that is not good.
        """
        presented = [key for key in (bearer.credentials if bearer else None, header) if key]
        if not presented and self._comes_by_link(request):
            return
        if not presented:
            raise UnauthorizedError("this needs an API key, as Authorization: Bearer or as X-API-Key")
        found = max(self._role(key) for key in presented)
        if not found:
            raise UnauthorizedError("the API key is not valid")
        needed = _NEEDED.get(request.method, Role.DELETE)
        if found < needed:
            raise ForbiddenError(
                f"{request.method} needs an API key with the role {needed.name.lower()}; "
                f"this one's is {Role(found).name.lower()}"
            )

    def _comes_by_link(self, request: Request) -> bool:
        stream_id, signature = request.path_params.get("stream_id"), request.query_params.get("signature")
        if stream_id is None or signature is None or request.method not in ("GET", "HEAD"):
            return False
        self._links.check(stream_id, request.query_params.get("expires", ""), signature)
        return True

    def _role(self, key: str) -> int:
        """Look up a key's role; 0 when the key is not valid."""
        # Digests have one length, and a maximum has no early exit: the time that this takes reveals
        # neither a key's length nor which key is nearly right.
        digest = _digest(key)
        return max(role * hmac.compare_digest(digest, known) for known, role in self._roles)


async def refuse_delete(request: Request) -> None:
    """Keep everybody from deleting: a dependency of a service without keys.

    Raises:
        ForbiddenError: the request would delete.
    """
    if request.method == "DELETE":
        raise ForbiddenError(
            "DELETE is off while the service has no API keys: ZIGGURAT_API_KEYS allows it to those with a "
            "key, ZIGGURAT_DELETE_WITHOUT_KEYS=true to everybody"
        )


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()

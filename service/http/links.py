"""Links that open one stream, for a while, to those without an API key.

    …?expires=1767225600&signature=xq3…

The signature is an HMAC of the stream's id and the second in which the link ends. Its secret comes
from the settings: links outlive a restart, and every worker and replica takes those of every other.
It is never an API key, nor made of one: whoever has a link could try keys against it at home.
"""

from __future__ import annotations

import hmac
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Query
from pydantic import SecretStr

_EXPIRES = re.compile(r"[1-9]\d{0,11}", re.ASCII)


class BadLinkError(Exception):
    """The link was not made here, or was changed. Its text is fit for users."""


class ExpiredLinkError(Exception):
    """The link is sound, and its time is over. Its text is fit for users."""


class LinksOffError(Exception):
    """The service has API keys, and no secret to sign links with. Its text is fit for users."""


class Links:
    """Signs links, and checks them.

    Args:
        secrets: the first one signs, and each is taken: they can be rotated.
    """

    def __init__(self, secrets: Sequence[SecretStr]) -> None:
        self._secrets = [secret.get_secret_value().encode() for secret in secrets]

    def sign(self, stream_id: str, expires: int) -> str:
        """Return the signature of a link to a stream, until a second of Unix time.

        Raises:
            LinksOffError: there is no secret.
        """
        if not self._secrets:
            raise LinksOffError("links to streams need ZIGGURAT_LINK_SECRETS where API keys are set")
        return _signature(self._secrets[0], stream_id, str(expires))

    def check(self, stream_id: str, expires: str, signature: str) -> None:
        """Take a link to a stream, as it came.

        Raises:
            BadLinkError: its signature is not of this stream and this end.
            ExpiredLinkError: its signature is right, and it is too late.
        """
        # Every secret is tried, and none compared in part: the time that it takes tells nothing.
        matches = [
            hmac.compare_digest(_signature(secret, stream_id, expires).encode(), signature.encode())
            for secret in self._secrets
        ]
        if not any(matches) or not _EXPIRES.fullmatch(expires):
            raise BadLinkError("the link was not made by this service for this stream")
        if time.time() >= int(expires):
            raise ExpiredLinkError("the link was good until an earlier time; ask for a new one")


async def _parameters(
    expires: Annotated[
        str | None, Query(description="Of a signed link: the second of Unix time in which it ends.")
    ] = None,
    signature: Annotated[
        str | None, Query(description="Of a signed link, which needs no API key: as the service made it.")
    ] = None,
) -> None:
    """Declare a link's parameters; `auth.ApiKeys` has looked at them."""


LINKED = Depends(_parameters)
"""A dependency of endpoints that a signed link opens."""


def _signature(secret: bytes, stream_id: str, expires: str) -> str:
    message = f"ziggurat-link-1\n{stream_id}\n{expires}"
    return urlsafe_b64encode(hmac.digest(secret, message.encode(), "sha256")).rstrip(b"=").decode()

"""Checks that a request means this service: by its Host, and by the page that it was sent from.

Anybody's page can make a browser on this machine or in its network send requests. Two ways are
closed here: a form that posts across sites; and a name that an attacker lets point to this machine,
which makes the page one of the same origin (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class UnknownHostError(Exception):
    """The request's Host is none that the service answers to."""


class BadHostError(Exception):
    """The request has no Host, or several (RFC 9112, section 3.2)."""


class CrossSiteError(Exception):
    """A browser sends the request from a page of another site, which may not."""


def is_loopback(address: str | None) -> bool:
    """Say whether this is the name or address of a loopback interface."""
    try:
        return address == "localhost" or ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def host_of(headers: Headers, http_version: str) -> str:
    """Return the one Host of a request, in lower case and without its port; "" in HTTP/1.0 without.

    Raises:
        BadHostError: there is none in HTTP/1.1, or there are several.
    """
    hosts = headers.getlist("host")
    if len(hosts) > 1 or (not hosts and http_version == "1.1"):
        raise BadHostError("a request needs one Host header")
    return _without_port(hosts[0]) if hosts else ""


def check_host(host: str, allowed: Sequence[str], *, listens: str) -> None:
    """Check a request's Host.

    Args:
        host: as `host_of` gives it. None at all passes where nothing is set.
        allowed: names, `*.example.org` for all names below one, `*` for any. When empty, any is
            allowed, unless the service listens on a loopback address: then only names of loopback.
        listens: the address that the service listens on.

    Raises:
        UnknownHostError: it is not allowed.
    """
    names = (*_LOOPBACK_NAMES, listens.lower(), *allowed) if is_loopback(listens) else tuple(allowed)
    if not names or any(_matches(host, name.lower()) for name in names):
        return
    if not host and not allowed:  # no browser, so that no page is behind it: they all send one
        return
    raise UnknownHostError(
        f"{host[:100]!r} is none of the names of this service; ZIGGURAT_ALLOWED_HOSTS lists them"
    )


def check_origin(method: str, headers: Headers, welcome: Sequence[str]) -> None:
    """Refuse what a browser sends from another site's page and what would change something.

    Programs that are no browsers send neither Sec-Fetch-Site nor Origin, and pass.

    Args:
        method: of the request.
        headers: its headers.
        welcome: origins whose pages may call; `*` is any.

    Raises:
        CrossSiteError: the page may not.
    """
    origin = headers.get("origin")
    if method in _SAFE_METHODS or "*" in welcome or origin in welcome:
        return
    site = headers.get("sec-fetch-site")
    if site in ("same-origin", "none"):  # set by the browser itself; a proxy may have replaced Host
        return
    if site != "cross-site" and (origin is None or _same(origin, headers.get("host", ""))):
        return
    raise CrossSiteError(
        f"pages of {(origin or 'another site')[:100]} may not call; ZIGGURAT_CORS_ORIGINS lists those "
        "that may"
    )


def _same(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _matches(host: str, name: str) -> bool:
    return name in ("*", host) or (name.startswith("*.") and host.endswith(name[1:]))


def _without_port(host: str) -> str:
    name, colon, port = host.strip().lower().rpartition(":")
    return (name if colon and port.isdecimal() else host.strip().lower()).rstrip(".")

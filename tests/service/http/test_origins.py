from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from service.http.origins import (
    BadHostError,
    CrossSiteError,
    UnknownHostError,
    check_host,
    check_origin,
    host_of,
    is_loopback,
)


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("Localhost:8000", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:8000", "[::1]"),
        ("[::1]", "[::1]"),
        ("img.example.", "img.example"),
        ("", ""),
    ],
)
def test_a_host_is_taken_without_its_port(header: str, host: str) -> None:
    assert host_of(Headers({"Host": header}), "1.1") == host


def test_a_request_has_one_host() -> None:
    twice = Headers(raw=[(b"host", b"a"), (b"host", b"b")])
    for headers, version in ((Headers(), "1.1"), (twice, "1.1"), (twice, "1.0")):
        with pytest.raises(BadHostError):
            host_of(headers, version)
    assert host_of(Headers(), "1.0") == ""


@pytest.mark.parametrize(
    ("host", "allowed", "listens", "passes"),
    [
        ("localhost", (), "127.0.0.1", True),
        ("[::1]", (), "::1", True),
        ("127.0.0.2", (), "127.0.0.2", True),
        ("evil.example", (), "127.0.0.1", False),
        ("", (), "localhost", True),
        ("", ("img.example",), "localhost", False),
        ("localhost.evil.example", (), "127.0.0.1", False),
        ("img.example", ("img.example",), "127.0.0.1", True),
        ("anything.example", ("*",), "127.0.0.1", True),
        ("anything.example", (), "0.0.0.0", True),
        ("localhost", ("img.example",), "0.0.0.0", False),
        ("a.img.example", ("*.IMG.example",), "0.0.0.0", True),
        ("img.example", ("*.img.example",), "0.0.0.0", False),
        ("eimg.example", ("*.img.example",), "0.0.0.0", False),
    ],
)
def test_hosts(host: str, allowed: tuple[str, ...], listens: str, passes: bool) -> None:
    if passes:
        check_host(host, allowed, listens=listens)
    else:
        with pytest.raises(UnknownHostError, match="ZIGGURAT_ALLOWED_HOSTS"):
            check_host(host, allowed, listens=listens)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback(address: str) -> None:
    assert is_loopback(address)
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("testserver")
    assert not is_loopback(None)


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({}, True),  # no browser
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://good.example"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://other.img.example"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://img.example:8000"}, True),
        ({"Origin": "http://img.example:8001"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[nonsense"}, False),
        ({"Origin": "https://good.example"}, True),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_pages_of_other_sites_change_nothing(method: str, headers: dict[str, str], passes: bool) -> None:
    named = Headers({"Host": "img.example:8000"} | headers)
    welcome = ("https://good.example",)
    check_origin("GET", named, welcome)
    check_origin(method, named, ("*",))
    if passes:
        check_origin(method, named, welcome)
    else:
        with pytest.raises(CrossSiteError):
            check_origin(method, named, welcome)

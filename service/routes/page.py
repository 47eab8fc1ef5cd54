"""`/`: the page on which people try the service in a browser; and `/docs`, which describes it.

Both are plain files in `service/web/`, with nothing to build and nothing from elsewhere. They hold
no secret, so they need no key: the page asks for one and sends it with its calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import BaseModel, Field

from .. import __version__
from ..http import problems
from ..http.negotiation import combined, matches_etag
from ..runtime import RuntimeDependency

router = APIRouter(include_in_schema=False)

_METHODS = ["GET", "HEAD"]
_FOLDER = Path(__file__).parents[1] / "web"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# A page that shows files of strangers runs no script and loads nothing but what is served here.
# Results of calls are shown and saved as blobs.
_POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the page, in memory: names that are not known lead nowhere on the disk."""

    content: bytes
    media_type: str

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the file. A browser asks whether its copy is current: names do not change."""
        headers = {"ETag": f'"{sha256(self.content).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
        return headers | _POLICY if self.media_type.startswith("text/html") else headers


def _read() -> Mapping[str, _File]:
    return {
        path.relative_to(_FOLDER).as_posix(): _File(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in _TYPES
    }


_FILES = _read()


class Service(BaseModel):
    """Facts about the service that the page shows before it asks for anything."""

    version: str
    needs_key: bool
    signed_links: bool = Field(description="Whether it makes links that open one stream without a key.")
    profiles: list[str]
    profile: str = Field(description="Taken when a request names none.")
    max_pixels: int
    max_body_bytes: int
    max_images: int = Field(description="That may share one budget.")
    max_age_seconds: float | None = Field(description="That a stream is kept; null is not limited.")


@router.api_route("/web/service.json", methods=_METHODS)
async def service(runtime: RuntimeDependency) -> Service:
    """The facts that the page shows, none of them secret."""
    settings = runtime.settings
    return Service(
        version=__version__,
        needs_key=bool(settings.api_keys),
        signed_links=bool(settings.api_keys and settings.link_secrets),
        profiles=list(settings.models),
        profile=settings.profile,
        max_pixels=settings.max_pixels,
        max_body_bytes=settings.max_body_bytes,
        max_images=settings.max_allocation_images,
        max_age_seconds=settings.store_max_age_seconds,
    )


@router.api_route("/", methods=_METHODS, response_class=Response)
async def page(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html")


@router.api_route("/docs", methods=_METHODS, response_class=Response)
async def docs(request: Request) -> Response:
    """Every endpoint, as `/openapi.json` describes it."""
    return _answer(request, "docs.html")


@router.api_route(
    "/web/{name:path}", methods=_METHODS, response_class=Response, responses=problems.describe(404)
)
async def file(request: Request, name: str) -> Response:
    """A file that the page is made of."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    found = _FILES.get(name)
    if found is None:
        raise HTTPException(404, "the page has no such file")
    headers = found.headers
    if matches_etag(combined(request.headers, "if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)

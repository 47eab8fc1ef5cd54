"""Inputs that endpoints have in common: the profile, and bodies, which need room first."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..engine.requests import NamedFile, Requests, StoredPicture
from ..engine.work import DeviceModel
from ..http.body import is_form, read_body, read_files
from ..runtime import Runtime, RuntimeDependency

JSON = "application/json"


class StoredStreams(BaseModel):
    """Streams to take the pictures from. What is compressed is what they decode to: the originals
    are not stored."""

    model_config = ConfigDict(extra="forbid")

    ids: list[str] = Field(min_length=1, description="Ids of stored streams, in the order of the answer.")


async def _requests(runtime: RuntimeDependency) -> Requests:
    return Requests(runtime.settings, runtime.metrics, runtime.engine, runtime.store)


RequestsDependency = Annotated[Requests, Depends(_requests)]


def model_of(runtime: Runtime, profile: str | None) -> DeviceModel:
    """Look up the model of a profile, or of the service's default. Raises `UnknownProfileError`."""
    return runtime.engine.models.model(runtime.settings.profile if profile is None else profile)


async def file_in(request: Request, runtime: Runtime, *, accepts: str) -> bytes:
    """Read the file in a request, raw or as multipart field `file`.

    `accepts` is the media type of a raw one, or `image/*`. Raises what `Engine.check_room` and
    `read_body` raise.
    """
    runtime.engine.check_room()
    settings = runtime.settings
    return await read_body(
        request, accepts=accepts, max_bytes=settings.max_body_bytes, seconds=settings.body_timeout_seconds
    )


async def pictures_in(request: Request, runtime: Runtime) -> list[NamedFile] | list[StoredPicture]:
    """Read the images in a request: multipart fields `file`, or the ids of stored streams.

    Raises what `file_in` raises.
    """
    settings = runtime.settings
    if not is_form(request):
        body = await file_in(request, runtime, accepts=JSON)
        return [StoredPicture(stream_id) for stream_id in _ids_in(body, settings.max_allocation_images)]
    runtime.engine.check_room()
    uploads = await read_files(
        request,
        max_files=settings.max_allocation_images,
        max_bytes=settings.max_body_bytes,
        seconds=settings.body_timeout_seconds,
    )
    return [NamedFile(upload.name, upload.content) for upload in uploads]


def _ids_in(body: bytes, max_ids: int) -> list[str]:
    try:
        ids = StoredStreams.model_validate_json(body).ids
    except ValidationError as error:
        raise RequestValidationError(
            [{**found, "loc": ("body", *found["loc"])} for found in error.errors()]
        ) from None
    if len(ids) > max_ids:
        detail = f"{len(ids)} images for one budget; the limit is {max_ids}"
        raise RequestValidationError([{"loc": ("body", "ids"), "msg": detail}])
    return ids

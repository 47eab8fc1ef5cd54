"""Inputs that endpoints have in common: the profile, and bodies, which need room first."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from inspect import isclass
from typing import Annotated, get_origin

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError
from pydantic.fields import FieldInfo

from ..engine.requests import NamedFile, Requests, StoredPicture
from ..engine.work import DeviceModel
from ..http.body import is_form, read_body, read_files
from ..runtime import Runtime, RuntimeDependency

JSON = "application/json"
_MAX_JSON_BYTES = 1024  # of a body of ids, beside them
_JSON_BYTES_PER_ID = 80  # 64 hex digits, quotes, a comma, and room for a line's indentation


class StoredStreams(BaseModel):
    """Streams to take the pictures from. What is compressed is what they decode to: the originals
    are not stored."""

    model_config = ConfigDict(extra="forbid")

    # The first that is no id ends it: a list of errors as long as the body is of use to nobody.
    ids: Annotated[list[str], FailFast()] = Field(
        min_length=1, description="Ids of stored streams, in the order of the answer."
    )


async def _requests(runtime: RuntimeDependency) -> Requests:
    return Requests(runtime.settings, runtime.metrics, runtime.engine, runtime.store)


RequestsDependency = Annotated[Requests, Depends(_requests)]


async def check_parameters(request: Request) -> None:
    """Guard an endpoint: what is misspelt, or said twice, must not pass unseen.

    Raises:
        RequestValidationError: the query names a parameter that the endpoint does not have, or has
            several values for one that is no list.
    """
    known = _parameters(request)
    counted = Counter(name for name, _ in request.query_params.multi_items())
    errors: list[dict[str, object]] = []
    for name, count in counted.items():
        if name not in known:
            errors.append({"type": "extra_forbidden", "loc": ("query", name), "msg": "unknown"})
        elif count > 1 and get_origin(known[name].annotation) is not list:
            errors.append({"loc": ("query", name), "msg": f"it has {count} values; it takes one"})
    if errors:
        raise RequestValidationError(errors)


def model_of(runtime: Runtime, profile: str | None) -> DeviceModel:
    """Look up the model of a profile, or of the service's default. Raises `UnknownProfileError`."""
    return runtime.engine.models.model(runtime.settings.profile if profile is None else profile)


@asynccontextmanager
async def file_in(request: Request, runtime: Runtime, *, accepts: str) -> AsyncIterator[bytes]:
    """Read the file in a request, raw or as multipart field `file`, and hold room for it meanwhile.

    `accepts` is the media type of a raw one, or `image/*`. Raises what `Runtime.check_room` and
    `read_body` raise.
    """
    runtime.check_room()
    with runtime.bodies.arrival() as arrival:
        yield await read_body(request, arrival, accepts=accepts, max_bytes=runtime.settings.max_body_bytes)


@asynccontextmanager
async def pictures_in(
    request: Request, runtime: Runtime
) -> AsyncIterator[list[NamedFile] | list[StoredPicture]]:
    """Read the images in a request: multipart fields `file`, or the ids of stored streams.

    Room for them is held meanwhile. Raises what `file_in` raises.
    """
    settings = runtime.settings
    most = settings.max_allocation_images
    runtime.check_room()
    with runtime.bodies.arrival() as arrival:
        if is_form(request):
            uploads = await read_files(request, arrival, max_files=most, max_bytes=settings.max_body_bytes)
            yield [NamedFile(upload.name, upload.content) for upload in uploads]
        else:
            max_bytes = min(_MAX_JSON_BYTES + most * _JSON_BYTES_PER_ID, settings.max_body_bytes)
            body = await read_body(request, arrival, accepts=JSON, max_bytes=max_bytes)
            yield [StoredPicture(stream_id) for stream_id in _ids_in(body, most)]


def url_of(request: Request, stream_id: str) -> str:
    """Return where the picture of a stored stream can be had, as clients see it."""
    return address_of(request, "decompress_stored", stream_id=stream_id)


def address_of(request: Request, endpoint: str, **parts: str) -> str:
    """Return the path of an endpoint, by its function's name, as clients see it."""
    path = request.app.url_path_for(endpoint, **parts)
    return f"{request.scope.get('root_path', '').rstrip('/')}{path}"


def _parameters(request: Request) -> dict[str, FieldInfo]:
    """Collect the parameters that a request's endpoint, and what it depends on, take: one by one or
    as a model.
    """
    known: dict[str, FieldInfo] = {}
    for name, field in _fields(request.scope["route"].dependant):
        if isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            known |= field.annotation.model_fields
        else:
            known[name] = field
    return known


def _fields(dependant: Dependant) -> Iterator[tuple[str, FieldInfo]]:
    yield from ((field.alias, field.field_info) for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _fields(inner)


def _ids_in(body: bytes, max_ids: int) -> list[str]:
    try:
        ids = StoredStreams.model_validate_json(body).ids
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
    if len(ids) > max_ids:
        detail = f"{len(ids)} images for one budget; the limit is {max_ids}"
        raise RequestValidationError([{"loc": ("body", "ids"), "msg": detail}])
    return ids

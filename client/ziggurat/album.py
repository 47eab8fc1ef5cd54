"""One budget for many images, in as many requests as the service's limits ask for.

The limits need not be known: what the service refuses is halved, and nothing as large is sent
again. An album in parts keeps its budget. Each part has its share, by pixels, of what the parts
before it left.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from PIL import Image

from ziggurat.bodies import Body, Source, body_of, multipart, of_bytes
from ziggurat.conversation import Conversation, Patience, Request, Run, exchange
from ziggurat.errors import (
    BodyTooLargeError,
    DeadlineExceededError,
    ImageTooLargeError,
    InvalidRequestError,
    MalformedBodyError,
    TooCostlyError,
    ZigguratError,
)
from ziggurat.results import Album, album_in, info_in, joined


@dataclass(frozen=True, slots=True)
class Item:
    """One image of an album: a body, or the id of a stored stream.

    Attributes:
        pixels: width times height; 0 until it matters.
    """

    content: Body | str
    pixels: int = 0


def items_of(sources: Sequence[Source], metadata: bool = False) -> list[Item]:
    """Turn what a caller gave into items, as `body_of` does. Raises what it raises."""
    return [Item(body_of(source, metadata)) for source in sources]


def allocate(
    items: Sequence[Item],
    budget_bpp: float | None,
    budget_bytes: int | None,
    parameters: Mapping[str, str],
    patience: Patience,
) -> Conversation[Album]:
    """Compress all items to one budget, in one request if the service takes it.

    Raises:
        ValueError: there are no items, or not exactly one budget.
        ZigguratError: what the service answered to an item alone, or to all for another reason than
            that they are many; or that it did not answer.
    """
    if not items:
        raise ValueError("there are no images")
    if (budget_bpp is None) == (budget_bytes is None):
        raise ValueError("exactly one of budget_bpp and budget_bytes is needed")
    whole = {"budget_bpp": str(budget_bpp)} if budget_bytes is None else {"budget_bytes": str(budget_bytes)}
    try:
        return (yield from _request(items, whole | dict(parameters), patience))
    except ZigguratError as error:
        if not _is_for_size(error, items):
            raise
        items = yield from _measured(items, error, patience)
    pixels = sum(item.pixels for item in items)
    budget = int(budget_bpp * pixels / 8) if budget_bpp is not None else budget_bytes or 0
    parts = yield from _in_parts(items, budget, parameters, patience)
    return joined(parts, budget)


def _in_parts(
    items: Sequence[Item], budget: int, parameters: Mapping[str, str], patience: Patience
) -> Conversation[list[Album]]:
    """Compress items that were refused when all were sent at once."""
    parts: list[Album] = []
    waiting = [items]  # the first part last
    refused = pixels = sum(item.pixels for item in items)
    while waiting:
        part = waiting.pop()
        size = sum(item.pixels for item in part)
        if size < refused or len(part) == 1:
            share = {"budget_bytes": str(max(1, budget * size // pixels))}
            try:
                album = yield from _request(part, share | dict(parameters), patience)
            except ZigguratError as error:
                if not _is_for_size(error, part):
                    raise
                refused = size
            else:
                parts.append(album)
                budget -= album.bytes
                pixels -= size
                continue
        middle = len(part) // 2
        waiting += [part[middle:], part[:middle]]
    return parts


def _request(items: Sequence[Item], parameters: Mapping[str, str], patience: Patience) -> Conversation[Album]:
    bodies = [item.content for item in items if isinstance(item.content, Body)]
    ids = [item.content for item in items if isinstance(item.content, str)]
    body = multipart(bodies) if bodies else of_bytes(json.dumps({"ids": ids}).encode(), "application/json")
    request = Request("POST", "allocate", parameters, "application/zip", body)
    answer = yield from exchange(request, patience)
    album: Album = yield Run(partial(album_in, answer))
    return album


def _is_for_size(error: ZigguratError, items: Sequence[Item]) -> bool:
    """Say whether fewer images at once may mend an error."""
    if len(items) == 1 or not all(isinstance(one.content, str) or one.content.repeatable for one in items):
        return False
    if isinstance(error, InvalidRequestError) and error.problem is not None:
        return any(wrong.parameter.startswith("ids") for wrong in error.problem.errors)  # too many of them
    # More files than there may be are a malformed body.
    sizes = (BodyTooLargeError, DeadlineExceededError, ImageTooLargeError, MalformedBodyError, TooCostlyError)
    return isinstance(error, sizes)


def _measured(items: Sequence[Item], error: ZigguratError, patience: Patience) -> Conversation[list[Item]]:
    """Find out each item's pixels. Raises `error` where that fails."""
    measured = []
    for item in items:
        if isinstance(item.content, str):
            info = info_in((yield from exchange(Request("GET", f"bitstreams/{item.content}/info"), patience)))
            pixels = info.width * info.height
        else:
            try:
                pixels = yield Run(partial(_pixels, item.content))
            except (OSError, Image.DecompressionBombError):
                raise error from None
        measured.append(Item(item.content, pixels))
    return measured


def _pixels(body: Body) -> int:
    with Image.open(io.BytesIO(b"".join(body.open()))) as image:
        return image.width * image.height

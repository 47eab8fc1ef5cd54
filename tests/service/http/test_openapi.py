"""The OpenAPI document and a live server, compared by schemathesis: every answer is documented."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from models.codec import Codec
from models.learned.codec import LearnedCodec
from service.app import create_app
from service.ids import id_of
from service.settings import Settings

from ..conftest import Live

KEY = "the-only-key-of-ours"
STORED: list[str] = []


def _image(size: int, image_format: str) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((size, size)).convert("RGB").save(file, image_format)
    return file.getvalue()


def _coarse() -> bytes:
    """A file with artefacts to take out."""
    file = io.BytesIO()
    Image.effect_noise((40, 30), 60).save(file, "JPEG", quality=30)
    return file.getvalue()


def _damaged(files: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Truncated anywhere, or with one byte replaced."""
    cut = st.builds(lambda file, at: file[: at % len(file)], files, st.integers(0, 10**6))
    changed = st.builds(
        lambda file, at, by: file[: at % len(file)] + bytes([by]) + file[at % len(file) + 1 :],
        files,
        st.integers(0, 10**6),
        st.integers(0, 255),
    )
    return cut | changed


IMAGES = st.sampled_from(
    [_image(size, kind) for size in (1, 24, 65) for kind in ("PNG", "JPEG", "WEBP", "GIF")]
)
COARSE = st.just(_coarse())  # /enhance refuses the others
STREAMS = st.deferred(lambda: st.sampled_from(_streams()))


def _streams() -> list[bytes]:
    codec = LearnedCodec.load("psnr")
    return [
        Codec(codec).compress(Image.linear_gradient("L").resize((size, size)), quality=50).data
        for size in (1, 40)
    ]


schemathesis.openapi.media_type("image/*", IMAGES | COARSE | _damaged(IMAGES) | st.binary(max_size=200))
schemathesis.openapi.media_type("image/vnd.ziggurat", STREAMS | _damaged(STREAMS) | st.binary(max_size=200))
schemathesis.openapi.media_type("application/octet-stream", IMAGES | STREAMS | st.binary(max_size=200))


SETTINGS = Settings.model_validate(
    {
        "store": "memory://",
        "models": "psnr",
        "profile": "psnr",
        "threads": 1,
        "max_pixels": 100_000,
        "max_body_bytes": 100_000,
        "api_keys": KEY,
        "link_secrets": "a-secret-of-at-least-32-characters",
        "open_metrics": False,
    }
)
# A schema cannot say which bytes are a sound image or stream within the limits, which ids there
# are, nor that of several budgets one is wanted.
REFUSABLE = {"positive_data_acceptance": {"expected-statuses": ["2xx", 404, 413, 415, 422]}}
CONFIG = {
    # Every request carries the key; the check of ignored keys takes it away.
    "generation": {"with-security-parameters": False},
    "operations": [
        {"include-name": f"POST {path}", "checks": REFUSABLE}
        for path in ("/allocate", "/compress", "/decompress", "/encode", "/enhance")
    ],
}
schema = schemathesis.openapi.from_dict(
    create_app(SETTINGS).openapi(), config=schemathesis.Config.from_dict(CONFIG)
)

TARGETS = (
    *("bpp", "max_bytes", "quality", "budget_bpp", "budget_bytes"),
    *("min_psnr", "min_ms_ssim", "min_ssimulacra2"),
)


@schema.hook
def map_query(context: schemathesis.HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Keep the first target that was drawn, so that many requests get as far as the codec."""
    targets = [name for name in TARGETS if name in (query or {})]
    return {name: value for name, value in query.items() if name not in targets[1:]} if query else query


@schema.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Every other list of ids is one of stored streams; what is no list of ids must stay wrong."""
    ids = body.get("ids") if isinstance(body, dict) else None
    if not STORED or not isinstance(ids, list) or not ids or len(str(ids)) % 2 == 0:
        return body
    if not all(isinstance(stream_id, str) for stream_id in ids):
        return body
    return body | {"ids": [STORED[0]] * min(len(ids), 3)}


@schema.hook
def map_path_parameters(
    context: schemathesis.HookContext, path_parameters: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Every other id is that of a stored stream; one is there to be deleted."""
    stream_id = (path_parameters or {}).get("stream_id")
    if stream_id is not None and STORED and len(str(stream_id)) % 2:
        deletes = context.operation is not None and context.operation.method == "delete"
        return {"stream_id": STORED[1 if deletes else 0]}
    return path_parameters


@pytest.fixture(scope="module")
def server(live: Callable[[Settings], Live]) -> Iterator[Live]:
    with live(SETTINGS) as server:
        for size in (40, 41):
            request = Request(
                f"{server.url}/compress?quality=50",
                _image(size, "PNG"),
                {"Content-Type": "image/png", "X-API-Key": KEY},
            )
            with urlopen(request) as answer:
                STORED.append(id_of(answer.read()))
        yield server


# Without a parameter of ours all operations have one and the same id, by which pytest-xdist would
# take them for one test.
@schema.parametrize()
@pytest.mark.parametrize("key", [KEY], ids=["key"])
@hypothesis.settings(max_examples=50, derandomize=True, database=None)
def test_the_server_answers_as_documented(case: schemathesis.Case[Any], key: str, server: Live) -> None:
    case.call_and_validate(base_url=server.url, headers={"X-API-Key": key})


def test_that_reached_every_part_of_the_service(server: Live) -> None:
    """Answers that need luck in drawing; without them the test above would say little."""
    metrics = server.app.state.runtime.metrics.registry
    met = {
        (sample.labels["route"], sample.labels["method"], int(sample.labels["status"]))
        for family in metrics.collect()
        for sample in family.samples
        if sample.name == "ziggurat_requests_total" and sample.value > 0
    }
    assert met >= {
        *(("/compress", "POST", status) for status in (201, 401, 415, 422)),
        *(("/allocate", "POST", status) for status in (200, 401, 422)),
        *(("/decompress", "POST", status) for status in (200, 401, 415, 422)),
        *(("/enhance", "POST", status) for status in (200, 401, 415, 422)),
        *(("/decompress/{stream_id}", "GET", status) for status in (200, 401, 404, 422)),
        *(("/bitstreams/{stream_id}", "GET", status) for status in (200, 401, 404)),
        *(("/bitstreams/{stream_id}", "DELETE", status) for status in (204, 401, 404)),
        ("/bitstreams/{stream_id}/info", "GET", 200),
        *(("/bitstreams/{stream_id}/links", "POST", status) for status in (201, 401, 404)),
        ("/progress/{token}", "GET", 200),
    }
    assert not [answer for answer in met if answer[2] >= 500]

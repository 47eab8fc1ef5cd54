"""`POST /enhance`: a JPEG, WebP or AVIF that somebody else made, with its artefacts taken out."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from PIL import Image

from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source

from .. import images
from ..http import problems
from ..http.body import describe_body
from ..runtime import RuntimeDependency, refuse_when_leaving
from . import inputs
from .pictures import PICTURE, Format, described, encoded, wanted

router = APIRouter(tags=["compression"], dependencies=[Depends(refuse_when_leaving)])

HEADERS = {
    "Ziggurat-Model": "Name and id of the post-processor.",
    "Ziggurat-Source": "Kind of the file, and how coarsely it is quantised, from 0 to 1.",
}
_PICTURE = described(PICTURE, HEADERS)


@router.post(
    "/enhance",
    response_class=Response,
    responses=_PICTURE | problems.describe(406, 413, 415, 422, 429, 501, 503),
    openapi_extra=describe_body("image/*"),
)
async def enhance(request: Request, runtime: RuntimeDependency, format: Format = None) -> Response:
    """A better picture of a JPEG, WebP or AVIF file, sent raw or as multipart field `file`. Nothing is stored.

    How much was lost is read from the file's own quantiser. What post-processing was not trained for is refused: other formats, lossless
    files, and those of so high a quality that there is nothing to gain.
    """
    image_format = wanted(request, format)
    engine = runtime.engine
    post_processor = engine.models.post_processor().post_processor
    stages = engine.stages()
    file = await inputs.receive(request, runtime, accepts="image/*")
    image, source = await stages.untold("header", _open, file, runtime.settings.max_pixels, post_processor)
    pixels = image.width * image.height
    inputs.bind_size(pixels, len(file))
    async with engine.admit(pixels) as deadline:
        coded = await stages.on_image_thread("decode", images.decode_as_coded, image)
        improved = await engine.enhance(coded, source, file_bytes=len(file), deadline=deadline, stages=stages)
        picture = await stages.on_image_thread_as("finish", "decode", images.finished, improved, image)
        answer = await encoded(runtime, picture, image_format, stages)
    answer.headers["Ziggurat-Model"] = f"{post_processor.name}/{post_processor.model_id}"
    answer.headers["Ziggurat-Source"] = f"{source.kind}; coarseness={source.coarseness:.3f}"
    return answer


def _open(file: bytes, max_pixels: int, post_processor: PostProcessor) -> tuple[Image.Image, Source]:
    image, source = images.open_lossy(file, max_pixels=max_pixels)
    post_processor.check(source)
    return image, source

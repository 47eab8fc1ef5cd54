"""docs/stream-format.md: the numbers and tables in its prose are the codec's."""

from __future__ import annotations

import json
import re

import pytest

from models.bitstream import Bitstream, CodecKind, metadata
from models.bitstream import container as bitstream
from models.entropy import context_model, requantisation, scale_decoder, tables
from models.grid import MAX_SIDE, PASSES, STRIDE
from models.hybrid import MODEL_ID
from models.learned.model import ENCODER_ONLY
from models.network.context import CONTEXT_IN_CHANNELS, CONTEXT_OUT_CHANNELS
from models.overlay import section as overlay
from models.rate_control.position import MAX_INDEX
from tests.docs.agreement import SPEC
from tests.docs.spec_decoder import PAGE
from tests.make_golden import GOLDEN, golden_picture

TEXT = PAGE.read_text()
PROSE = re.sub(r"^```python\n.*?^```\n", "", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_prose_is_within_100_columns_and_names_files_only_at_the_end() -> None:
    outside_of_tables = (line for line in TEXT.splitlines() if not line.startswith("|"))
    assert max(map(len, outside_of_tables)) <= 100
    before_the_last_section = PROSE.partition("## 16.")[0]
    assert not re.findall(r"[\w/]+\.py\b", before_the_last_section)


def test_the_conformance_table_is_that_of_the_fixtures() -> None:
    promised = json.loads((GOLDEN / "symbols.json").read_text())
    rows = re.findall(r"^\| `(tiny-\d+\.zgt)` \| (\d+) \| `([0-9a-f]{64})` \|$", TEXT, re.MULTILINE)
    assert {name: digest for name, _, digest in rows} == promised["symbols"]
    assert all((GOLDEN / name).stat().st_size == int(size) for name, size, _ in rows)
    assert f"id `{promised['model_id']}`" in PROSE.replace("\n", " ")


def test_constants_are_the_codecs() -> None:
    assert SPEC.MAGIC == bitstream.MAGIC
    versions = (bitstream.PLAIN_VERSION, bitstream.METADATA_VERSION, bitstream.VERSION)
    assert versions == (SPEC.PLAIN_VERSION, SPEC.METADATA_VERSION, SPEC.VERSION)
    sizes = (overlay.BLOCK * overlay.SIDE, overlay.BLOCK, overlay.RAMP)
    assert sizes == (SPEC.CELL, SPEC.BLOCK, SPEC.RAMP)
    limits = (metadata.MAX_BYTES, metadata.MAX_EXIF_BYTES, metadata.MAX_XMP_BYTES)
    assert limits == (SPEC.MAX_METADATA, SPEC.MAX_EXIF, SPEC.MAX_XMP)
    assert SPEC.PRESET == metadata.PRESET
    assert list(CodecKind) == [SPEC.LEARNED, SPEC.HYBRID]
    assert SPEC.MAX_SIDE == MAX_SIDE
    assert SPEC.MAX_QUALITY == MAX_INDEX
    assert SPEC.VARINT_BYTES == bitstream._MAX_LENGTH_BYTES
    assert SPEC.TOTAL == tables.TOTAL == requantisation.EXACT_LIMIT == 1 << requantisation.MULTIPLIER_BITS
    assert SPEC.TABLES == tables.LAPLACE_TABLES
    assert SPEC.LARGEST_RESIDUAL == tables.LARGEST_RESIDUAL
    assert (SPEC.Z_INPUT, SPEC.ACTIVATION, SPEC.RAW) == (
        scale_decoder.INPUT_LIMIT,
        scale_decoder.ACTIVATION_LIMIT,
        scale_decoder.RAW_LIMIT,
    )
    assert SPEC.MOST_SHIFT == context_model.MAX_INDEX_SHIFT
    assert SPEC.LOUDNESS == context_model.MAGNITUDE_LEVELS
    assert SPEC.HYPER_REACH == context_model.HYPER_MEAN_LIMIT
    assert (SPEC.SEEN, SPEC.TOLD) == (CONTEXT_IN_CHANNELS, CONTEXT_OUT_CHANNELS)
    assert SPEC.ENCODER_ONLY == ENCODER_ONLY
    assert MODEL_ID == SPEC.HYBRID_ID
    passes = {phase: number for number, phases in enumerate(PASSES) for phase in phases}
    assert {phase: number for phase, (number, _) in SPEC.PHASES.items()} == passes
    assert list(SPEC.PHASES) == list(context_model.PHASES)
    assert {phase: taps for phase, (_, taps) in SPEC.PHASES.items()} == context_model.NEIGHBOURS


@pytest.mark.parametrize(
    "sentence",
    [
        f"width in pixels, 1 to {MAX_SIDE}",
        f"height in pixels, 1 to {MAX_SIDE}",
        f"quality q, 0 to {MAX_INDEX}",
        f"It has at most {bitstream._MAX_LENGTH_BYTES} bytes",
        f"`ceil(height / {STRIDE})` rows and `ceil(width / {STRIDE})` columns",
        f"counts of the {tables.LAPLACE_TABLES} residual tables",
        f"its {context_model.HYPER_CONTEXTS} contexts",
        f"`scale.lookup` | U8 ({scale_decoder.RAW_LIMIT + 1})",
        f"{context_model.INPUT_LIMIT // 4} for each neighbour inside y",
        f"All inputs are 0 to {context_model.INPUT_LIMIT}",
        f"limited to 0 .. {scale_decoder.ACTIVATION_LIMIT}",
        f"the last to -{context_model.MAX_INDEX_SHIFT} .. {context_model.MAX_INDEX_SHIFT}",
        f"limited to 1 .. {tables.LAPLACE_TABLES - 1}",
        f"`LOUDNESS[min(|r|, {len(context_model.MAGNITUDE_LEVELS) - 1})]`",
        f"0 .. {(1 << tables.ESCAPE_BITS) - 1}, of a uniform table",
        f"`left[e] = {tables.TOTAL >> tables.ESCAPE_BITS} e`",
        f"at most {tables.LARGEST_RESIDUAL}",
        f"in the {CONTEXT_OUT_CHANNELS} lowest channels",
        f"of the {CONTEXT_IN_CHANNELS} lowest channels",
        f"coarseness `1 - q / {MAX_INDEX}`",
    ],
)
def test_numbers_in_prose_are_the_codecs(sentence: str) -> None:
    assert sentence in " ".join(PROSE.split())


def test_the_header_table_lies_where_the_codec_writes() -> None:
    stream = Bitstream.parse((GOLDEN / "tiny-100.zgt").read_bytes())
    data = stream.to_bytes()
    section = PROSE.partition("## 2.")[2].partition("## 3.")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| ([a-z ]+)", section, re.MULTILINE)
    fields = {name.strip().split(" in ")[0]: data[int(at) : int(at) + int(size)] for at, size, name in rows}
    numbers = {name: int.from_bytes(content, "little") for name, content in fields.items()}
    flags = 4 * stream.postprocess + 2 * stream.greyscale + (stream.alpha is not None)
    assert fields["magic"] == b"ZGT"
    assert fields["model id"] == stream.model_id
    assert numbers["format version"] == bitstream.PLAIN_VERSION
    assert numbers["codec"] == stream.codec
    assert numbers["flags"] == flags
    assert numbers["width"] == stream.width
    assert numbers["height"] == stream.height
    assert numbers["quality q"] == stream.position.index
    assert sum(int(size) for _, size, _ in rows) == 16


def test_golden_pictures_have_the_size_that_the_page_says() -> None:
    picture = golden_picture()
    assert f"a picture of {picture.width}x{picture.height} pixels" in " ".join(PROSE.split())

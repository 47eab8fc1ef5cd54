"""The codec of the golden streams."""

from __future__ import annotations

import pytest

from models.learned.codec import LearnedCodec
from models.learned.model import CodecModel
from tests.make_golden import FIXTURES, tiny_card


@pytest.fixture(scope="module")
def tiny() -> LearnedCodec:
    """The codec of the golden streams, in float32."""
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    return LearnedCodec(model, tiny_card(model.model_id), bfloat16=False)

"""The codec of the golden streams."""

from __future__ import annotations

import pytest

from models import Codec
from models.model import CodecModel
from tests.make_golden import FIXTURES, tiny_card


@pytest.fixture(scope="module")
def tiny() -> Codec:
    """The codec of the golden streams, in float32."""
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    return Codec(model, tiny_card(model.model_id), bfloat16=False)

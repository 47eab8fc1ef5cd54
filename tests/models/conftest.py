"""Codecs that several tests share: the tiny one of the golden streams where any will do, the shipped ones where quality counts."""

from __future__ import annotations

import pytest

from models import Codec
from models.registry import available
from tests.make_golden import tiny_codec


@pytest.fixture(scope="session")
def tiny() -> Codec:
    return tiny_codec()


@pytest.fixture(scope="session", params=available())
def shipped(request: pytest.FixtureRequest) -> Codec:
    return Codec.load(request.param)

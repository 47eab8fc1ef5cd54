"""models.errors"""

from __future__ import annotations

import inspect
import pickle

import pytest

from models import errors
from models.errors import CodecError, UnknownModelError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", ALL)
def test_who_catches_the_base_catches_all_and_the_tree_at_the_top_shows_it(kind: type[Exception]) -> None:
    assert issubclass(kind, CodecError)
    assert errors.__doc__ is not None
    assert f"{kind.__name__} " in errors.__doc__ or kind is CodecError


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not UnknownModelError])
def test_errors_survive_a_process_boundary(kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind("too large")))
    assert type(error) is kind
    assert str(error) == "too large"


def test_an_unknown_model_is_named_on_the_other_side_too() -> None:
    error = pickle.loads(pickle.dumps(UnknownModelError("0badcafe")))
    assert error.model_id == "0badcafe"
    assert str(error) == "model 0badcafe is not available"

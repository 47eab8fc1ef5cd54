"""The tree is the service's: each of its problem types has a class of the same name."""

from __future__ import annotations

import pickle

import pytest
from ziggurat import errors
from ziggurat.errors import Problem, ServiceError, StatusError, UnknownModelError, ZigguratError

from service.http import problems

# These come from libraries of the service, under names of their own.
_OTHER_NAMES = {"invalid-request": "InvalidRequestError"}
_NOBODY_RECEIVES = {"disconnected"}


_NAMES = {
    kind.slug: error.__name__ for error, kind in problems._KINDS.items() if kind.slug not in _NOBODY_RECEIVES
}


@pytest.mark.parametrize(("slug", "name"), _NAMES.items())
def test_a_problem_of_the_service_has_a_class_of_its_name(slug: str, name: str) -> None:
    error = errors.of(Problem(errors.TYPE_PREFIX + slug, "Title", 422, "the detail"))
    assert type(error).__name__ == _OTHER_NAMES.get(slug, name)
    assert str(error) == "the detail"


def test_the_bases_are_those_of_the_service_and_the_codec() -> None:
    for theirs in problems._KINDS:
        ours = getattr(errors, theirs.__name__, None)
        for base in theirs.__mro__[1:]:
            expected = getattr(errors, base.__name__, None)
            assert ours is None or expected is None or issubclass(ours, expected), theirs


def test_every_class_of_the_package_is_in_the_tree_that_is_drawn() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    drawn = errors.__doc__ or ""
    for cls in classes:
        if issubclass(cls, ZigguratError):
            assert cls.__name__ in drawn


def test_a_type_of_a_later_service_is_an_error_by_its_status() -> None:
    error = errors.of(Problem(errors.TYPE_PREFIX + "of-tomorrow", "Of tomorrow", 422, "news"))
    assert type(error) is StatusError
    assert isinstance(error, ServiceError)
    assert error.problem is not None
    assert error.problem.type.endswith("of-tomorrow")


def test_errors_survive_pickling() -> None:
    problem = Problem("urn:problem-type:ziggurat:unknown-model", "T", 422, "no such", model_id="00000000")
    error = pickle.loads(pickle.dumps(errors.of(problem)))
    assert isinstance(error, UnknownModelError)
    assert error.problem == problem
    assert str(error) == "no such"

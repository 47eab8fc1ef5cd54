from __future__ import annotations

import inspect

import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient

from models import errors as codec_errors
from models.errors import AvifError, CodecError, OptionError, UnknownModelError, WeightsError
from service import images, store
from service.engine import errors as engine_errors
from service.engine.errors import AbandonedError, EngineError, OverloadedError, UnavailableError
from service.http import problems
from service.metrics import Metrics


def answer(error: Exception) -> tuple[int, dict[str, object], dict[str, str]]:
    """Return what a client sees when an endpoint raises: status, problem and headers."""
    app = FastAPI()
    problems.install(app, Metrics())

    @app.get("/")
    async def fail() -> None:
        raise error

    response = TestClient(app).get("/")
    assert response.headers["content-type"] == problems.MEDIA_TYPE
    problem = response.json()
    assert problem["status"] == response.status_code
    return response.status_code, problem, dict(response.headers)


def test_problems_say_what_happened() -> None:
    status, problem, _ = answer(images.AnimatedImageError(12))

    assert status == 422
    assert problem["type"] == "urn:problem-type:ziggurat:animated-image"
    assert "12 frames" in str(problem["detail"])


def test_an_unknown_model_is_named() -> None:
    status, problem, _ = answer(UnknownModelError("0badcafe"))

    assert (status, problem["model_id"]) == (422, "0badcafe")


@pytest.mark.parametrize(("error", "expected"), [(OverloadedError, 429), (UnavailableError, 503)])
def test_retry_after_is_whole_seconds_rounded_up(error: type[EngineError], expected: int) -> None:
    status, _, headers = answer(error("later", retry_after=2.1))

    assert (status, headers["retry-after"]) == (expected, "3")


def test_a_failing_store_asks_to_come_back() -> None:
    status, _, headers = answer(store.StoreUnavailableError())

    assert status == 503
    assert int(headers["retry-after"]) > 0


def test_every_typed_error_has_an_answer_of_its_own() -> None:
    """All leaves of the four trees, apart from weights, which fail at the start of the service, and
    options, which the service checks itself, and what nobody is there to see.
    """
    raised = {
        error
        for module in (codec_errors, images, store, engine_errors)
        for _, error in inspect.getmembers(module, inspect.isclass)
        if issubclass(error, Exception) and error.__module__ == module.__name__ and not error.__subclasses__()
    }
    assert raised - {WeightsError, AvifError, OptionError, AbandonedError} <= set(problems._KINDS)
    assert CodecError not in problems._KINDS, "an unexpected kind of failure is not the client's fault"
    assert len(set(problems.reasons())) == len(problems.reasons())


def test_a_problem_never_gives_back_a_megabyte() -> None:
    _, problem, _ = answer(codec_errors.TargetError("x" * 1_000_000))

    assert len(str(problem["detail"])) == 500


def test_of_many_wrong_parameters_ten_are_named_and_the_others_counted() -> None:
    wrong = [{"loc": ("query", f"p{number}" * 100), "msg": "wrong" * 100} for number in range(1000)]
    _, problem, _ = answer(RequestValidationError(wrong))

    assert isinstance(problem["errors"], list)
    assert len(problem["errors"]) == 10
    assert "and 990 more" in str(problem["detail"])
    assert len(str(problem)) < 5000

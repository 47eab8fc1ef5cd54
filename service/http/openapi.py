"""Corrections to FastAPI's OpenAPI document.

It leaves out the problems that any operation can answer, and calls optional parameters nullable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from . import problems


def complete(document: dict[str, Any], *, profiles: Sequence[str]) -> None:
    """Correct a document in place.

    Args:
        document: FastAPI's.
        profiles: the values that parameters named `profile` take.
    """
    reference = "#/components/schemas/{model}"
    _, schemas = models_json_schema([(problems.Problem, "serialization")], ref_template=reference)
    components = document["components"]["schemas"]
    components.update(schemas["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    for path in document["paths"].values():
        for method, operation in path.items():
            _complete_responses(method, operation)
            for parameter in operation.get("parameters", ()):
                _complete_parameter(parameter, profiles)


def unrouted(method: str) -> list[int]:
    """Return the statuses with which requests are refused before anybody looks for an endpoint."""
    return [400, 403, 421] if method.upper() in ("POST", "DELETE") else [400, 421]


def shared(*, secured: bool, has_body: bool) -> list[int]:
    """Return the statuses of the problems with which any operation of its kind can answer."""
    statuses = [500]
    if secured:
        statuses.append(401)
    if has_body:
        statuses.append(408)
    return statuses


def _complete_responses(method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]  # FastAPI's own kind of answer, which the service does not give
    possible = shared(secured="security" in operation, has_body="requestBody" in operation)
    # 405 belongs to the path rather than the operation, but has no other place.
    for status, response in problems.describe(405, *unrouted(method), *possible).items():
        responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))


def _complete_parameter(parameter: dict[str, Any], profiles: Sequence[str]) -> None:
    schema = parameter["schema"]
    if "anyOf" in schema:  # a parameter may be left out, but a query has no null
        schema |= next(kind for kind in schema.pop("anyOf") if kind.get("type") != "null")
    if parameter["name"] == "profile":
        schema["enum"] = list(profiles)

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


def _complete_responses(method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]  # FastAPI's own kind of answer, which the service does not give
    possible = [405, 500]  # 405 belongs to the path rather than the operation, but has no other place
    if "security" in operation:
        possible.append(401)
        if method not in ("get", "head"):  # every key may read
            possible.append(403)
    if "requestBody" in operation:
        possible.append(408)
    for status, response in problems.describe(*possible).items():
        responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))


def _complete_parameter(parameter: dict[str, Any], profiles: Sequence[str]) -> None:
    schema = parameter["schema"]
    if "anyOf" in schema:  # a parameter may be left out, but a query has no null
        schema |= next(kind for kind in schema.pop("anyOf") if kind.get("type") != "null")
    if parameter["name"] == "profile":
        schema["enum"] = list(profiles)

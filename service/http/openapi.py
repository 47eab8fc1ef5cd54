"""What FastAPI's OpenAPI document leaves out or gets wrong: problems that any operation can answer, parameters that are never null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import models_json_schema

from . import problems


def complete(document: dict[str, Any], *, profiles: Sequence[str]) -> None:
    """Finish a document in place; `profiles` are the values that the parameter of this name takes."""
    _, schemas = models_json_schema([(problems.Problem, "serialization")], ref_template="#/components/schemas/{model}")
    components = document["components"]["schemas"]
    components.update(schemas["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        _complete_responses(operation)
        for parameter in operation.get("parameters", ()):
            _complete_parameter(parameter, profiles)


def _complete_responses(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]  # FastAPI's own idea of one
    # 405 is of the path rather than the operation, but has no other place.
    possible = [405, 500, *([401] if "security" in operation else []), *([408] if "requestBody" in operation else [])]
    for status, response in problems.describe(*possible).items():
        responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))


def _complete_parameter(parameter: dict[str, Any], profiles: Sequence[str]) -> None:
    schema = parameter["schema"]
    if "anyOf" in schema:  # left out is not null: a query has no null
        schema |= next(one for one in schema.pop("anyOf") if one.get("type") != "null")
    if parameter["name"] == "profile":
        schema["enum"] = list(profiles)

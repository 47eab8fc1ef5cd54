from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


def test_errors_of_the_framework_are_problems_too(client: TestClient) -> None:
    answers = [client.get("/nowhere"), client.put("/compress"), client.get("/compress")]

    assert [answer.status_code for answer in answers] == [404, 405, 405]
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    assert answers[1].headers["allow"] == "POST"


def test_openapi_names_media_types_and_statuses(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    compress = paths["/compress"]["post"]
    assert set(compress["responses"]) == {"201", "406", "413", "415", "422", "429", "503"}
    assert set(compress["responses"]["201"]["content"]) == {"image/vnd.ziggurat", "application/json"}
    assert set(compress["requestBody"]["content"]) == {"image/*", "application/octet-stream", "multipart/form-data"}
    assert set(paths["/decompress/{stream_id}"]["get"]["responses"]["200"]["content"]) == {
        "image/png",
        "image/webp",
        "image/avif",
        "image/jpeg",
    }


def test_openapi_describes_every_error_as_a_problem(client: TestClient) -> None:
    document = client.get("/openapi.json").json()

    for operations in document["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert set(response["content"]) == {"application/problem+json"}
    assert {"Problem", "InvalidParameter", "Compression", "StreamFacts"} <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).headers["content-type"].startswith("text/html")

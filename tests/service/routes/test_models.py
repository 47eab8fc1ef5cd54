from __future__ import annotations

from fastapi.testclient import TestClient

from models.hybrid.codec import HybridCodec
from models.postprocess import model as post_model
from models.weights import registry


def test_models_are_listed_with_their_cards(client: TestClient) -> None:
    models = {(model["kind"], model["name"]): model for model in client.get("/models").json()}

    ids = {name: registry.card(name).model_id for name in registry.available()}
    post = {name: post_model.card(name).model_id for name in post_model.available()}
    expected = {"codec": ids, "hybrid": {"avif": HybridCodec.model_id}, "post-processor": post}
    for kind, known in expected.items():
        assert {name: model["model_id"] for (of, name), model in models.items() if of == kind} == known
    assert [name for (kind, name), model in models.items() if model["default"]] == ["visual", "files"]
    for (_, name), model in models.items():
        assert model["loaded"]
        assert model["device"] == "cpu"
        assert model["card"]["name"] == name

from __future__ import annotations

from fastapi.testclient import TestClient

from models import registry


def test_models_are_listed_with_their_cards(client: TestClient) -> None:
    models = {model["name"]: model for model in client.get("/models").json()}

    assert set(models) == set(registry.available())
    assert [name for name, model in models.items() if model["default"]] == ["ms-ssim"]
    for name, model in models.items():
        assert model["loaded"]
        assert model["device"] == "cpu"
        assert model["model_id"] == registry.card(name).model_id
        assert model["card"]["name"] == name

from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.settings import Settings


def test_defaults_load_both_models() -> None:
    settings = Settings()

    assert settings.models == ("ms-ssim", "psnr")
    assert settings.profile == "ms-ssim"
    assert settings.store == "./data"


def test_every_field_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_PORT", "9000")
    monkeypatch.setenv("ZIGGURAT_MODELS", "psnr, ")
    monkeypatch.setenv("ZIGGURAT_PROFILE", "psnr")

    settings = Settings()

    assert (settings.port, settings.models, settings.profile) == (9000, ("psnr",), "psnr")


def test_every_field_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"profile": "vmaf"},
        {"models": ""},
        {"max_pixels": 0},
        {"port": 70000},
        {"store": "s3://bucket", "store_max_bytes": 1},
    ],
)
def test_nonsense_is_refused_at_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)

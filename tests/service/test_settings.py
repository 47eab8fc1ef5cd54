from __future__ import annotations

import pytest
from pydantic import ValidationError

from service.settings import ApiKey, Role, Settings

KEY = "sixteen.letters."


def test_defaults_load_all_models() -> None:
    settings = Settings()

    assert settings.models == ("visual", "ms-ssim", "psnr")
    assert settings.profile == "visual"
    assert settings.store == "./data"


def test_every_field_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_PORT", "9000")
    monkeypatch.setenv("ZIGGURAT_MODELS", "psnr, ")
    monkeypatch.setenv("ZIGGURAT_PROFILE", "psnr")

    settings = Settings()

    assert (settings.port, settings.models, settings.profile) == (9000, ("psnr",), "psnr")


@pytest.mark.parametrize(
    ("loaded", "profile"), [("psnr,visual", "visual"), ("psnr", "psnr"), ("ms-ssim,psnr", "ms-ssim")]
)
def test_the_profile_is_one_of_the_models(loaded: str, profile: str) -> None:
    assert Settings.model_validate({"models": loaded}).profile == profile


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
        {"store_max_bytes": -1},
        {"host": ""},  # which would be every address
    ],
)
def test_nonsense_is_refused_at_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


@pytest.mark.parametrize("empty", ["", " , ", ","])
def test_keys_that_are_set_and_empty_are_refused_in_the_environment_too(
    monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    monkeypatch.setenv("ZIGGURAT_API_KEYS", empty)

    with pytest.raises(ValidationError, match="ZIGGURAT_API_KEYS is set and has no key in it"):
        Settings()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (KEY[1:], "at least 16 characters"),
        (f"{KEY},{KEY[1:]}", "at least 16 characters"),
        (f"{KEY[1:]}:read", "at least 16 characters"),
        (":read", "at least 16 characters"),
        (f"{KEY}:admin", "read, write, delete"),
        (f"{KEY}:", "read, write, delete"),
        (f"{KEY}:Read", "read, write, delete"),
        ("ein-schlüssel-von-uns", "printable ASCII"),
        (f"{KEY},{KEY}", "twice"),
        (f"{KEY}:read,{KEY}:write", "twice"),
    ],
)
def test_keys_that_do_not_do_are_refused_without_being_repeated(keys: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why) as refused:
        Settings.model_validate({"api_keys": keys})

    for secret in (KEY[1:], "schlüssel", "admin"):
        assert secret not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "secret", "role"),
    [
        (KEY, KEY, Role.DELETE),
        (f"{KEY}:read", KEY, Role.READ),
        (f"{KEY}:write", KEY, Role.WRITE),
        (f"with:colons:{KEY}:delete", f"with:colons:{KEY}", Role.DELETE),
    ],
)
def test_a_key_without_a_role_is_good_for_everything(text: str, secret: str, role: Role) -> None:
    key = ApiKey.parse(text)

    assert (key.secret.get_secret_value(), key.role) == (secret, role)


@pytest.mark.parametrize(
    ("other", "reason"), [({"device": "cuda"}, "GPU"), ({"store": "memory://"}, "share")]
)
def test_workers_are_refused_where_they_cannot_share(other: dict[str, str], reason: str) -> None:
    assert Settings.model_validate({"workers": 2}).workers == 2
    with pytest.raises(ValidationError, match=reason):
        Settings.model_validate({"workers": 2, **other})

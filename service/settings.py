"""Settings of the service: the environment (`ZIGGURAT_...`) and the flags of `ziggurat serve`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .logs import LogFormat, LogLevel


class Settings(BaseSettings):
    """The operator's choices, each read from `ZIGGURAT_<NAME>`; descriptions name the unit."""

    # Inputs stay out of error messages, as a wrong one may be a key.
    model_config = SettingsConfigDict(env_prefix="ZIGGURAT_", frozen=True, hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one."
    )
    device: str = Field(default="cpu", description="Where the networks run: cpu, cuda or cuda:N.")
    store: str = Field(
        default="./data",
        description="Where streams are kept: a directory, s3://…, gs://…, az://… or memory://.",
    )
    store_max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Bytes that a store in a directory keeps, least recently stored out first; unset, all.",
    )
    store_max_age_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds after its last POST that a stream leaves a store in a directory; unset, never.",
    )
    store_min_age_seconds: float = Field(
        default=60.0,
        ge=0,
        description="Seconds for which a stream is safe from the quota; when all are that young, 507.",
    )
    store_timeout_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that the store may take for one operation, retries included; beyond it 503.",
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("ms-ssim", "psnr"), min_length=1, description="Models to load, separated by commas."
    )
    profile: str = Field(
        default="ms-ssim", description="Model that compresses when a request names none; one of those loaded."
    )
    max_pixels: int = Field(
        default=100_000_000,
        ge=1,
        description="Largest image or stream, in pixels; larger ones get 413 or 422.",
    )
    max_body_bytes: int = Field(
        default=64 * 2**20, ge=1, description="Largest request body, in bytes; reading stops there with 413."
    )
    max_allocation_images: int = Field(
        default=100,
        ge=1,
        description="Images that may share one budget in a request; their pixels together count as one "
        "image's.",
    )
    max_queued_requests: int = Field(
        default=512, ge=1, description="Requests accepted and not yet answered; beyond it 429."
    )
    max_queued_pixels: int = Field(
        default=80_000_000,
        ge=1,
        description="Pixels of all requests accepted and not yet answered; beyond it 429. One request "
        "alone always enters.",
    )
    max_batch_pixels: int | None = Field(
        default=None,
        ge=1,
        description="Pixels, padding counted, that go through a network in one call; a larger image goes "
        "alone. Unset, 400,000 on a CPU "
        "and 4,000,000 on a GPU.",
    )
    request_timeout_seconds: float = Field(
        default=120.0,
        gt=0,
        description="Seconds from a request's last body byte to its answer; beyond it 503.",
    )
    stall_seconds: float = Field(
        default=300.0,
        gt=0,
        description="Seconds without a sign of life from the device thread until /livez fails.",
    )
    body_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Seconds for a request's body to arrive, and one more for every 10 kB of it; beyond "
        "it 408.",
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        description="Seconds after SIGTERM in which /readyz is red and work is still accepted; then 503 "
        "for new work.",
    )
    grace_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds after SIGTERM by which the process has ended, whatever still runs; unset, "
        "drain_seconds, request_timeout_seconds and ten more.",
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Keys, separated by commas, one of which a request must carry; unset, none is needed.",
    )
    open_metrics: bool = Field(
        default=True, description="Whether /metrics needs no key, even when other endpoints do."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may call from a browser, separated by commas; * is any; unset, "
        "none.",
    )
    server_timing: bool = Field(
        default=True, description="Whether answers tell in Server-Timing where their time went."
    )
    log_format: LogFormat | None = Field(
        default=None, description="console or json; unset, console on a terminal and else json."
    )
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error.")
    device_threads: int | None = Field(
        default=None,
        ge=1,
        description="Batches that run at the same time; unset, one for each CPU core, at most 4, and one "
        "on a GPU.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads for the networks; unset, what PyTorch takes."
    )
    entropy_workers: int | None = Field(
        default=None,
        ge=0,
        description="Processes for the entropy coder; 0 codes in the server's own, unset decides by "
        "cores and device.",
    )
    image_workers: int = Field(
        default=2,
        ge=1,
        description="Processes that read and write image files; as many again encode for hybrid streams.",
    )

    @field_validator("models", "api_keys", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("api_keys")
    @classmethod
    def _keys_fit_into_headers(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(key.get_secret_value().isascii() and key.get_secret_value().isprintable() for key in keys):
            raise ValueError("keys are printable ASCII")
        return keys

    @model_validator(mode="after")
    def _limits_bind_a_directory(self) -> Settings:
        if "://" in self.store and (self.store_max_bytes or self.store_max_age_seconds):
            raise ValueError(
                "store_max_bytes and store_max_age_seconds are for a directory; a bucket has rules of "
                "its own for them"
            )
        return self

    @model_validator(mode="after")
    def _profile_is_loaded(self) -> Settings:
        if self.profile not in self.models:
            loaded = ", ".join(self.models)
            raise ValueError(f"profile {self.profile!r} is not among the models to load: {loaded}")
        return self

"""Settings of the service: the environment (`ZIGGURAT_...`) and the flags of `ziggurat serve`."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models.weights.registry import DEFAULT, SHIPPED

from .logs import LogFormat, LogLevel

_MIN_KEY_CHARACTERS = 16
_MIN_SECRET_CHARACTERS = 32


class Role(IntEnum):
    """Rights of an API key; each role includes those before it."""

    READ = 1  # GET and HEAD
    WRITE = 2  # POST
    DELETE = 3


class ApiKey(NamedTuple):
    """A key and what it is good for."""

    secret: SecretStr
    role: Role

    @classmethod
    def parse(cls, text: str) -> ApiKey:
        """Read `key` or `key:role`; a key without a role is good for everything.

        Raises:
            ValueError: this is no key. The message does not repeat it.
        """
        secret, colon, name = text.rpartition(":")
        if not colon:
            secret, name = text, Role.DELETE.name.lower()
        roles = {role.name.lower(): role for role in Role}
        if name not in roles:
            raise ValueError(f"what follows a key's colon is its role: {', '.join(roles)}")
        if len(secret) < _MIN_KEY_CHARACTERS:
            raise ValueError(f"a key has at least {_MIN_KEY_CHARACTERS} characters, its role not counted")
        if not (secret.isascii() and secret.isprintable()):
            raise ValueError("a key is printable ASCII, as it travels in a header")
        return cls(SecretStr(secret), roles[name])


class Settings(BaseSettings):
    """The operator's choices, each read from `ZIGGURAT_<NAME>`; descriptions name the unit."""

    # Inputs stay out of error messages, as a wrong one may be a key.
    model_config = SettingsConfigDict(env_prefix="ZIGGURAT_", frozen=True, hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one."
    )
    device: str = Field(default="cpu", description="Where the networks run: cpu, cuda or cuda:N.")
    workers: int = Field(
        default=1,
        ge=1,
        description="Server processes on the one port, each with its share of the CPU cores; more than "
        "1 for a CPU only. Limits are the service's: each process has its share of them too.",
    )
    store: str = Field(
        default="./data",
        description="Where streams are kept: a directory, s3://…, gs://…, az://… or memory://.",
    )
    store_max_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Bytes that a store in a directory keeps, least recently stored out first; 0, all; "
        "unset, 10 GB or a tenth of the disk, whichever is less.",
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
        default=SHIPPED, min_length=1, description="Models to load, separated by commas."
    )
    profile: str = Field(
        default_factory=lambda data: _default_profile(data.get("models", SHIPPED)),
        description="Model that compresses when a request names none; one of those loaded. Unset, "
        f"`{DEFAULT}` where it is loaded, and else the first.",
    )
    max_pixels: int = Field(
        default=40_000_000,
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
        description="Pixels of all requests of a size accepted and not yet answered, times what is done "
        "to them; beyond it 429. Small images, those of over 4 megapixels, and collections have as much "
        "room each, and one request alone always enters.",
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
        description="Seconds in which a request's body must be complete, or bring its next 10 kB for each; "
        "beyond it 408.",
    )
    max_held_body_bytes: int = Field(
        default=256 * 2**20,
        ge=1,
        description="Bytes of all request bodies together, arriving and at work; beyond it 429 for the one "
        "that comes slowest. One alone always enters.",
    )
    max_unread_bytes: int = Field(
        default=256 * 2**20,
        ge=1,
        description="Bytes of answers that clients have not taken yet; beyond it 429 for new work.",
    )
    write_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Seconds in which a client must take some of an answer, 1 kB for each; beyond it the "
        "connection is closed.",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="Connections at the same time; one more closes the one idle longest. Unset, three "
        "quarters of the descriptors that the process may open, at most 4,000.",
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
        description="Keys, separated by commas, one of which a request must carry; each may end in "
        ":read, :write or :delete. Unset, none is needed.",
    )
    link_secrets: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Secrets of at least 32 characters, separated by commas, for links that open one "
        "stream without a key: the first signs, each is taken. Unset, where keys are set, no links.",
    )
    delete_without_keys: bool = Field(
        default=False, description="Whether anybody may DELETE streams while no keys are set."
    )
    open_metrics: bool = Field(
        default=True, description="Whether /metrics needs no key, even when other endpoints do."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may call from a browser, separated by commas; * is any; unset, "
        "none.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names by which the service may be called (Host), separated by commas; *.example.org is "
        "all below, * any. Unset, any, but on a loopback address only names of loopback.",
    )
    root_path: str = Field(
        default="",
        pattern=r"^(/[^/?#]+)*$",
        description="Path that a proxy in front strips, such as /img; addresses in answers begin with it.",
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
        default=None,
        ge=1,
        description="CPU threads for the networks; unset, what PyTorch takes, within a container's limit.",
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

    @field_validator("models", "api_keys", "link_secrets", "cors_origins", "allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys_are_there(cls, value: object) -> object:
        # Whoever sets the variable wants keys: an empty one must not open the service to everybody.
        if isinstance(value, str) and not value.replace(",", "").strip():
            raise ValueError("ZIGGURAT_API_KEYS is set and has no key in it; unset it to serve without keys")
        return value

    @field_validator("api_keys")
    @classmethod
    def _keys_are_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        secrets = [ApiKey.parse(key.get_secret_value()).secret for key in keys]
        if len(set(secrets)) < len(secrets):
            raise ValueError("a key is listed twice")
        return keys

    @field_validator("link_secrets")
    @classmethod
    def _secrets_are_long(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # Whoever has a link can try secrets against it for as long as they like.
        if any(len(secret) < _MIN_SECRET_CHARACTERS for secret in secrets):
            raise ValueError(f"a secret for links has at least {_MIN_SECRET_CHARACTERS} characters")
        return secrets

    @model_validator(mode="after")
    def _limits_bind_a_directory(self) -> Settings:
        if "://" in self.store and (self.store_max_bytes or self.store_max_age_seconds):
            raise ValueError(
                "store_max_bytes and store_max_age_seconds are for a directory; a bucket has rules of "
                "its own for them"
            )
        return self

    @model_validator(mode="after")
    def _workers_can_share(self) -> Settings:
        if self.workers > 1 and self.device != "cpu":
            raise ValueError(
                "several workers are for a CPU: on a GPU each would load the models again, and batches "
                "would be smaller; run one process for each GPU"
            )
        if self.workers > 1 and self.store.startswith("memory:"):
            raise ValueError("several workers need a store that they share; memory:// is one process's own")
        return self

    @model_validator(mode="after")
    def _profile_is_loaded(self) -> Settings:
        if self.profile not in self.models:
            loaded = ", ".join(self.models)
            raise ValueError(f"profile {self.profile!r} is not among the models to load: {loaded}")
        return self


def _default_profile(loaded: tuple[str, ...]) -> str:
    return DEFAULT if DEFAULT in loaded else loaded[0]

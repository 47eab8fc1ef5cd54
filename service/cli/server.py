"""`ziggurat serve` and `ziggurat health`: the service as a process."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from .console import app, err, out


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def serve(context: typer.Context) -> None:
    """Serve over HTTP; every setting of the service is a flag (ziggurat serve --help)."""
    import uvicorn
    from pydantic import ValidationError
    from pydantic_settings import CliApp, CliSettingsSource

    from ..settings import Settings

    # The settings class makes the flags itself, so that the two cannot differ. A flag wins over the environment.
    flags: CliSettingsSource[Settings] = CliSettingsSource(
        Settings, cli_prog_name="ziggurat serve", cli_kebab_case=True, cli_show_env_vars=True, cli_hide_none_type=True
    )
    try:
        settings = CliApp.run(Settings, cli_args=context.args, cli_settings_source=flags)
    except ValidationError as error:
        first = error.errors()[0]
        hint = "".join(f"--{name}".replace("_", "-") for name in first["loc"]) or None
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=hint) from None
    from ..app import create_app

    # Shutting down waits for what was accepted, and no longer than a request may take.
    patience = math.ceil(settings.request_timeout_seconds)
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, timeout_graceful_shutdown=patience)


@app.command()
def health(
    url: Annotated[str | None, typer.Option(help="Root of the service.", show_default="from ZIGGURAT_HOST and ZIGGURAT_PORT")] = None,
) -> None:
    """Ask a running service whether it is ready; exit code 1 when it is not."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    from ..settings import Settings

    if url is None:
        settings = Settings()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        with urlopen(f"{url.rstrip('/')}/readyz", timeout=5):
            out.print("ready")
    except (OSError, ValueError) as error:  # refused, timed out, answered 503, or no URL at all
        if isinstance(error, HTTPError):
            error.close()
        err.print(f"{url}: not ready: {error}")
        raise typer.Exit(1) from None

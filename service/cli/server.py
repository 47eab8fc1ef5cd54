"""`ziggurat serve` and `ziggurat health`: the service as a process."""

from __future__ import annotations

import errno
import logging
import socket
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated

import typer

from .console import AsJson, Quiet, app, check_device, check_profile, err, out, print_json

if TYPE_CHECKING:
    from ..settings import Settings

_log = logging.getLogger(__name__)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def serve(context: typer.Context) -> None:
    """Serve over HTTP; every setting of the service is a flag (ziggurat serve --help)."""
    settings = settings_from(context.args)
    _check(settings)
    from .. import logs
    from ..app import create_app
    from ..server import Server, bind, grace_seconds
    from ..supervisor import Supervisor, share_of

    logs.configure(settings.log_format, settings.log_level)
    _log.info("loading %s", ", ".join(settings.models))
    try:
        listener = bind(settings.host, settings.port)
    except OSError as error:  # taken since it was checked
        raise _cannot_listen(settings.host, settings.port, error) from None
    with listener:
        host, port = listener.getsockname()[:2]
        address = _address(host, port)
        warn_if_open(settings, host, address)

        def greet() -> None:
            _greet(settings, address)

        if settings.workers == 1:
            server = Server(create_app(settings), settings, on_ready=greet)
        else:
            # It returns in each worker, and leaves when they have.
            worker = Supervisor(settings, listener, grace_seconds(settings), on_ready=greet).run()
            logs.configure(settings.log_format, settings.log_level, worker=worker.index)
            share = share_of(settings)
            server = Server(create_app(share, worker), share, on_ready=worker.tell_ready, worker=worker)
        try:
            server.run([listener])
        except OSError as error:
            if error.errno == errno.EADDRINUSE:  # another process that was loading too listens there by now
                raise _cannot_listen(settings.host, settings.port, error) from None
            raise


@app.command()
def health(
    url: Annotated[
        str | None,
        typer.Option(help="Root of the service.", show_default="from ZIGGURAT_HOST and ZIGGURAT_PORT"),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask a running service whether it is ready; exit code 1 when it is not."""
    from urllib.error import HTTPError
    from urllib.request import urlopen

    if url is None:
        settings = settings_from([])
        # A service that listens on every address answers on the loopback one.
        url = _address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host), settings.port)
    try:
        with urlopen(f"{url.rstrip('/')}/readyz", timeout=5):
            if as_json:
                print_json({"url": url, "ready": True})
            elif not quiet:
                out.print("ready")
    except (OSError, ValueError) as error:  # refused, timed out, answered 503, or no URL at all
        if isinstance(error, HTTPError):
            error.close()
        if as_json:
            print_json({"url": url, "ready": False, "error": str(error)})
        err.print(f"{url}: not ready: {error}")
        raise typer.Exit(1) from None


def warn_if_open(settings: Settings, host: str, address: str) -> None:
    """Log a warning when others than this machine may use the service without a key.

    Args:
        settings: those of the service.
        host: the address that it is bound to, in digits.
        address: where it is reached, for the log.
    """
    if not (settings.api_keys or ip_address(host).is_loopback):
        _log.warning(
            "everybody who reaches this address may use the service: ZIGGURAT_API_KEYS is not set",
            extra={"address": address},
        )


def _check(settings: Settings) -> None:
    """Find what would break the start, what is quick to find first.

    In the middle of the start it would be a traceback, after seconds of loading.

    Raises:
        typer.BadParameter: there is no such model, device or kind of store.
        OSError: the address is taken or not this machine's, or the store cannot be written to.
    """
    _check_address(settings.host, settings.port)
    for name in settings.models:
        check_profile(name, option="--models")
    _check_store(settings.store)
    check_device(settings.device)


def _check_address(host: str, port: int) -> None:
    """Listen for a moment. `service.server.bind` is for good, and takes seconds to import."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(place[:2], family=family).close()
    except OSError as error:
        raise _cannot_listen(host, port, error) from None


def _cannot_listen(host: str, port: int, error: OSError) -> OSError:
    """The error with the address in its text."""
    reason = f"cannot listen there: {error.strerror or error}"
    if error.errno == errno.EADDRINUSE:
        reason = "the port is taken; --port names another"
    return OSError(f"{_address(host, port)}: {reason}")


def _check_store(location: str) -> None:
    from obstore.exceptions import BaseError

    from ..store import StreamStore

    try:
        StreamStore(location)
        if "://" not in location:
            with TemporaryFile(dir=location):
                pass
    except OSError as error:
        # obstore's errors of a directory do not name it, and those of the system not always.
        reason = error.strerror or str(error)
        if Path(location).is_file():
            reason = "it is a file, and a directory is needed"
        raise OSError(f"store {location}: cannot be written: {reason}") from None
    except (BaseError, ValueError) as error:
        raise typer.BadParameter(f"{location}: {str(error).splitlines()[0]}", param_hint="--store") from None


def settings_from(arguments: list[str]) -> Settings:
    """Read the settings from flags and the environment; a flag wins. Raises typer.BadParameter."""
    from pydantic import ValidationError
    from pydantic_settings import CliApp, CliSettingsSource

    from ..settings import Settings

    # The settings class makes the flags itself, so that the two cannot differ.
    flags: CliSettingsSource[Settings] = CliSettingsSource(
        Settings,
        cli_prog_name="ziggurat serve",
        cli_kebab_case=True,
        cli_show_env_vars=True,
        cli_hide_none_type=True,
    )
    try:
        return CliApp.run(Settings, cli_args=arguments, cli_settings_source=flags)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else None
        hint = name and f"--{name.replace('_', '-')} (ZIGGURAT_{name.upper()})"
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=hint) from None


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _greet(settings: Settings, address: str) -> None:
    """Say on a terminal what to do next; elsewhere write one line for whoever collects logs."""
    if not err.is_terminal:
        facts = {
            "address": address,
            "models": settings.models,
            "device": settings.device,
            "store": settings.store,
        }
        _log.info("ready", extra=facts)
    else:
        from .. import __version__

        store = settings.store if "://" in settings.store else Path(settings.store).resolve()
        example = f"curl --fail-with-body -F file=@photo.jpg '{address}/compress?bpp=0.15' -o photo.zgt"
        err.print(
            f"\n  Ziggurat {__version__} is ready on {address}\n\n"
            f"  models    {', '.join(settings.models)} on {settings.device}\n"
            f"  streams   {store}\n"
            f"  calls     {address}/docs\n"
            f"  try       {example}\n"
            f"  stop      Ctrl-C\n"
        )

"""The command line: ``python -m devpocket serve | load-templates | create-admin | check``."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import structlog
import uvloop

from actors.ports import Ports
from devpocket.assembly import TEMPLATES, make_ports
from devpocket.chores import check_ports, make_admin
from devpocket.clock import SystemClock
from devpocket.errors import ConfigurationError, DevPocketError
from devpocket.logs import configure_logging
from devpocket.metrics import Metrics
from devpocket.processes import MISCONFIGURED, Processes, inherited_sockets
from devpocket.server import Server, listen, prepare_data_dir
from devpocket.settings import Settings, load_settings
from scripts.load_templates import load_templates as load_template_files

ResultT = TypeVar("ResultT")

log = structlog.get_logger("devpocket.cli")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what cannot be configured away is one line and exit code 2."""
    try:
        cli(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(MISCONFIGURED)
    except ConfigurationError as error:
        sys.exit(_complain(str(error)))
    except DevPocketError as error:
        sys.exit(_complain(error.public))


def _complain(sentence: str) -> int:
    click.echo(f"devpocket: {sentence}", err=True)
    return MISCONFIGURED


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """A self-hosted backend for coding from a phone. Settings come from the environment and from .env."""


@cli.command()
@click.option("--host", help="Address to listen on; HOST.")
@click.option("--port", help="Port to listen on, 0 for a free one; PORT.")
@click.option("--processes", help="Server processes, which need MongoDB; PROCESSES.")
def serve(host: str | None, port: str | None, processes: str | None) -> None:
    """Run the server."""
    settings = _settings(HOST=host, PORT=port, PROCESSES=processes)
    sockets = inherited_sockets() or listen(settings)
    if settings.server.processes > 1:
        sys.exit(Processes(settings, sockets).run())
    _run(lambda: Server(settings, sockets).run())


@cli.command("load-templates")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), default=TEMPLATES)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@click.option("--prune", is_flag=True, help="Deprecate stored templates that have no file.")
def load_templates(directory: Path, *, dry_run: bool, prune: bool) -> None:
    """Create and update templates from the YAML files of a folder; the server's own by default."""

    async def load(ports: Ports) -> str:
        report = await load_template_files(ports.store, directory, dry_run=dry_run, prune=prune, clock=ports.clock)
        return str(report)

    _with_store(load)


@cli.command("create-admin")
@click.option("--username", prompt=True)
@click.option("--email", prompt=True)
@click.option("--password", prompt=True, hide_input=True, confirmation_prompt=True, envvar="ADMIN_PASSWORD")
def create_admin(username: str, email: str, password: str) -> None:
    """Make an account that may administer this server, or give an existing account of that address the right to.

    The password may come from ADMIN_PASSWORD; an existing account keeps its own.
    """
    _with_store(lambda ports: make_admin(ports, username, email, password))


@cli.command()
def check() -> None:
    """Say for each port whether it answers, in which version, and what is wrong; exit code 1 if anything is."""
    settings = _settings()
    prepare_data_dir(settings.server.data_dir)  # sandboxes are tried out in it
    healthy = _run(lambda: check_ports(make_ports(settings, SystemClock(), Metrics()), click.echo))
    sys.exit(0 if healthy else 1)


def _settings(**given: str | None) -> Settings:
    """Return the settings, options of the command line before everything else; logging follows them from here on."""
    settings = load_settings(given={name: value for name, value in given.items() if value is not None})
    configure_logging(settings.observation.log_level, settings.observation.log_format)
    for warning in settings.warnings:
        log.warning(warning)
    return settings


def _with_store(work: Callable[[Ports], Coroutine[Any, Any, str]]) -> None:
    """Run ``work`` over a store alone, and print what it says."""
    settings = _settings()

    async def run() -> None:
        ports = make_ports(settings, SystemClock(), Metrics())
        prepare_data_dir(settings.server.data_dir)
        try:
            await ports.store.start()
            click.echo(await work(ports))
        finally:
            await ports.store.close()

    _run(run)


def _run(work: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run ``work`` on uvloop, on which messages between actors measure a third faster than on asyncio's own loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())

"""`claude-shim fleet`: the server that hosts share, and how this host stands to it."""

from __future__ import annotations

import os
import sys

import click

from shim.base import environment
from shim.base.plain_text import shell_word
from shim.fleet import serving, units
from shim.fleet.serving import Address, Server
from shim.store import store

_UNITS = {"systemd": units.systemd, "launchd": units.launchd}
_HERE = "launchd" if sys.platform == "darwin" else "systemd"
_HINTS = {
    "systemd": f"""\
Have it as ~/.config/systemd/user/{units.NAME}.service. Then:
  systemctl --user enable --now {units.NAME}
  loginctl enable-linger       # it runs, too, while you are not logged in""",
    "launchd": f"""\
Have it as ~/Library/LaunchAgents/{units.NAME}.plist. Then:
  launchctl load ~/Library/LaunchAgents/{units.NAME}.plist""",
}


@click.group("fleet", short_help="The same room on every machine.", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """The same room on every machine: a server they share, and how this host stands to it.

    Where NSED_FLEET_URL names a NATS server, a room is one conversation on every host that names
    it: what one host was told the next one knows, also where the first one died in between.

    \b
      claude-shim fleet serve --detach         a server, and the line that hosts need
      claude-shim fleet status
      claude-shim help fleet
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("serve")
@click.option(
    "--listen",
    metavar="ADDRESS",
    default=serving.LOOPBACK,
    help=f"Where other machines reach it; 0.0.0.0 is everywhere.  [default: {serving.LOOPBACK}]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=serving.PORT,
    metavar="N",
    help=f"[default: {serving.PORT}]",
)
@click.option(
    "--tls-cert",
    type=click.Path(exists=True, dir_okay=False),
    help="Speak TLS, with this certificate (PEM).",
)
@click.option(
    "--tls-key", type=click.Path(exists=True, dir_okay=False), help="The certificate's key."
)
@click.option("--detach", is_flag=True, help="Start it in the background, unless it runs already.")
@click.option(
    "--print-unit",
    "unit",
    type=click.Choice(list(_UNITS)),
    is_flag=False,
    flag_value=_HERE,
    help="Print what has the system start it, instead.",
)
def serve(
    listen: str,
    port: int,
    tls_cert: str | None,
    tls_key: str | None,
    detach: bool,
    unit: str | None,
) -> None:
    """Run a server for the fleet: NATS with JetStream, its data beside the store.

    Stdout has one line, which the hosts of the fleet need. It holds a token that is made once, and
    without which the server lets nobody in. Every record is on the disk before it counts.

    It listens on this machine alone, unless --listen says otherwise; then what is said crosses the
    network open, unless there is a certificate.

    \b
      eval "$(claude-shim fleet serve --detach)"
      claude-shim fleet serve --listen 10.0.0.5
      claude-shim fleet serve --print-unit > ~/.config/systemd/user/claude-shim-fleet.service
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    address = Address(listen, port, _absolute(tls_cert), _absolute(tls_key))
    if unit is not None:
        click.echo(_UNITS[unit](_command(address), _environment()), nl=False)
        click.echo(_HINTS[unit], err=True)
        return
    server = Server(store.directory())
    url = server.configure(address)
    if not detach:
        server.require_free()
    elif not server.pid():
        server.start()
    if address.is_open:
        click.echo(
            "What is said crosses the network open: --tls-cert and --tls-key change that.", err=True
        )
    click.echo(f"export NSED_FLEET_URL={shell_word(url)}")
    sys.stdout.flush()
    if not detach:
        server.become()


@command.command("stop")
def stop() -> None:
    """End the courier of this host, and the server, if one runs here.

    Conversations go on: the next call starts the courier again.
    """
    server = Server(store.directory(make=False))
    if not server.stop():
        raise click.ClickException("nothing of the fleet runs here")
    click.echo("Ended the server.")


def _absolute(path: str | None) -> str:
    return os.path.abspath(path) if path else ""


def _command(address: Address) -> list[str]:
    """The command line that serves there, for a system that starts it."""
    given = ["--listen", address.host, "--port", str(address.port)]
    if address.certificate:
        given += ["--tls-cert", address.certificate, "--tls-key", address.key]
    return [sys.executable, "-I", "-m", "shim.commands", "fleet", "serve", *given]


def _environment() -> dict[str, str]:
    """What it must be told to have the same store."""
    where = environment.get("NSED_SESSION_DIR")
    return {"NSED_SESSION_DIR": os.path.abspath(where)} if where else {}

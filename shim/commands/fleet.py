"""`claude-shim fleet`: the server that hosts share, and how this host stands to it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from shim.base import environment, files
from shim.base.plain_text import printable, shell_word
from shim.cli.output import (
    age,
    as_json,
    bad,
    counted,
    dim,
    doubtful,
    good,
    iso,
    name,
    show_json,
    size,
    span,
)
from shim.fleet import daemon_client, keys, overview, serving, units
from shim.fleet.serving import Address, Server
from shim.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.fleet.overview import FailedFlush, LocalConversation, RemoteClaude, Status

_KEYS = "fleet.key"
_UNITS = {"systemd": units.systemd, "launchd": units.launchd}
# What the fields of the status are called in JSON where that differs, and which are moments.
_JSON_NAMES = {"is_fenced": "fenced", "hostname": "host"}
_MOMENTS = ("since", "when")
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
      claude-shim fleet key new                have that server keep no text
      claude-shim fleet status
      claude-shim help fleet
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("serve")
@click.option(
    "--listen",
    metavar="ADDRESS[:PORT]",
    default=serving.LOOPBACK,
    help=f"Where other machines reach it; 0.0.0.0 is everywhere.  [default: {serving.LOOPBACK}]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
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
@click.option(
    "--tls-ca",
    type=click.Path(exists=True, dir_okay=False),
    help="Let in only who shows a certificate of this authority (PEM).",
)
@click.option(
    "--cluster",
    metavar="ADDRESS,…",
    default="",
    help="Be one of several servers: the addresses of all, with commas between.",
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
    port: int | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_ca: str | None,
    cluster: str,
    detach: bool,
    unit: str | None,
) -> None:
    """Run a server for the fleet: NATS with JetStream, its data beside the store.

    Stdout has one line, which the hosts of the fleet need. It holds a token that is made once, and
    without which the server lets nobody in. Every record is on the disk before it counts.

    It listens on this machine alone, unless --listen says otherwise; then what is said crosses the
    network open, unless there is a certificate.

    Three servers are a cluster, which goes on while one of them is away. The first one prints the
    line; give it to the shells in which the other two are started: they take its token over. They
    talk among themselves at the port that is 2000 above, 6222.

    \b
      claude-shim fleet serve --listen 10.0.0.1 --cluster 10.0.0.1,10.0.0.2,10.0.0.3
      eval "$(claude-shim fleet serve --detach)"
      claude-shim fleet serve --listen 10.0.0.5
      claude-shim fleet serve --print-unit > ~/.config/systemd/user/claude-shim-fleet.service
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    if tls_ca and not tls_cert:
        raise click.UsageError("--tls-ca goes with --tls-cert.")
    servers = tuple(filter(None, (each.strip() for each in cluster.split(","))))
    certificate, key, authority = map(_absolute, (tls_cert, tls_key, tls_ca))
    try:
        host, port = serving.parse_address(listen, port)
    except ValueError as problem:
        raise click.UsageError(
            "--listen takes ADDRESS or ADDRESS:PORT, with one port."
        ) from problem
    address = Address(host, port, certificate, key, authority, servers)
    if unit is not None:
        click.echo(_UNITS[unit](_command(address), _environment()), nl=False)
        click.echo(_HINTS[unit], err=True)
        return
    server = Server(store.directory())
    url = server.configure(address)
    if not detach:
        server.require_free()
        server.require_able(address)
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


@command.command("status")
@as_json
def status(as_json: bool) -> None:
    """How this host stands to the fleet. Where it cannot be reached, the exit code is 1.

    \b
    Backend    the server, its version, and whether it can be reached
    Stored     how much is there, of how much there may be
    Daemon     the process of this host that has the connection
    Here       the conversations that claudes of this host have now; one that
               is `fenced` was taken by another host, and goes on as a fork
    Elsewhere  those that claudes of other hosts have
    Behind     what is not in the fleet yet
    Failed     turns whose answer was seen before the fleet had it
    Server     the server, where `fleet serve` runs it here

    \b
      claude-shim fleet status --json | jq .behind
    """
    where = store.directory()
    server = Server(where).pid()
    if not daemon_client.is_configured():
        raise click.ClickException("no fleet is configured: NSED_FLEET_URL names its server")
    found = overview.status(where)
    if as_json:
        show_json(_as_json(found, server))
    else:
        for label, text in _rows(found, server):
            click.echo(f"{dim(label)}{' ' * (11 - len(label))}{text}")
    if not found.backend["is_reachable"]:
        sys.exit(1)


@command.command("stop")
def stop() -> None:
    """End the sync daemon of this host, and the server, if one runs here.

    Conversations go on: the next call starts the sync daemon again.
    """
    where = store.directory(make=False)
    ended, kept = [], ""
    if overview.stop(where):
        ended.append("the sync daemon")
    server = Server(where)
    if server.stop():
        ended.append("the server")
        kept = f" Its data stays in {server.data}."
    if not ended:
        raise click.ClickException("nothing of the fleet runs here")
    click.echo(f"Ended {' and '.join(ended)}.{kept}")


@command.group("key", short_help="Keys that encrypt what leaves for the server.")
def key() -> None:
    """Keys that encrypt what leaves for the server: with one, the server has no text and no names.

    \b
      claude-shim fleet key new
    """


@key.command("new")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
def new_key(file: str | None) -> None:
    """Make a file with a new key, for this user alone.

    It prints the line that every host of the fleet needs, with a copy of the file (scp -p); nobody
    else is to have one. A file that is there is left as it is. Who loses the key loses what it has
    encrypted, but for what hosts have.

    \b
      eval "$(claude-shim fleet key new)"              # fleet.key beside the store
      claude-shim fleet key new ~/keys/fleet.key
    """
    where = store.directory()
    if file is None:
        files.make_directory(where)
    path = os.path.abspath(file or f"{where}/{_KEYS}")
    keys.make(path)
    click.echo(f"export NSED_FLEET_KEY_FILE={shell_word(path)}")


def _rows(found: Status, server: int | None) -> Iterator[tuple[str, str]]:
    """What a person reads: labels, and what stands beside them."""
    now = time.time()
    backend, stream = found.backend, found.backend["stream"]
    if backend["is_reachable"]:
        encrypted = ", encrypted" if backend["is_sealed"] else ""
        server_name = f"nats-server {backend['version']} at {backend['url']}{encrypted}"
        yield "Backend", f"{good('reached')}: {server_name}"
    else:
        yield "Backend", f"{bad('not reached')}: {printable(str(backend['why']))}"
    if stream:
        limit = f" of {size(stream['max_bytes'])}" if stream["max_bytes"] > 0 else ""
        yield (
            "Stored",
            f"{size(stream['bytes'])}{limit}, in {counted(stream['messages'], 'record')}",
        )
    yield "Daemon", f"process {found.pid}, for {span(now - found.since)}"
    for label, texts in (
        ("Here", [_here(each) for each in found.here if each.pid]),
        ("Elsewhere", [_elsewhere(each, now) for each in found.elsewhere]),
    ):
        for number, text in enumerate(texts or ["nobody"]):
            yield "" if number else label, text
    late = [each for each in found.here if each.behind]
    behind = f"{doubtful(size(found.behind))}: {', '.join(map(_whose, late))}"
    yield "Behind", behind if late else "nothing"
    for each in found.failed:
        yield "Failed", f"{_whose(each)}, {age(now - each.when)}: {printable(each.why)}"
    if server:
        yield "Server", f"process {server}, with its data beside the store"


def _whose(of: LocalConversation | RemoteClaude | FailedFlush) -> str:
    return f"{name(of.room)} {name(of.agent)}"


def _here(of: LocalConversation) -> str:
    return f"{_whose(of)} ({of.kind}{doubtful(', fenced') if of.is_fenced else ''})"


def _elsewhere(of: RemoteClaude, now: float) -> str:
    return f"{_whose(of)} on {printable(of.hostname)} ({of.kind}, for {span(now - of.since)})"


def _as_json(found: Status, server: int | None) -> dict[str, Any]:
    backend, stream = found.backend, found.backend["stream"] or {}
    return {
        "url": backend["url"],
        "reachable": backend["is_reachable"],
        "why": backend["why"],
        "version": backend["version"],
        "cluster": backend["is_cluster"],
        "sealed": backend["is_sealed"],
        "stored": stream.get("bytes"),
        "limit": limit if (limit := stream.get("max_bytes", -1)) > 0 else None,
        "host": found.hostname,
        "courier": {"pid": found.pid, "since": iso(found.since)},
        "here": [{**_part_as_json(each), "pid": each.pid or None} for each in found.here],
        "elsewhere": [_part_as_json(each) for each in found.elsewhere],
        "failed": [_part_as_json(each) for each in found.failed],
        "behind": found.behind,
        "server": server,
    }


def _part_as_json(part: LocalConversation | RemoteClaude | FailedFlush) -> dict[str, Any]:
    return {
        _JSON_NAMES.get(name, name): iso(value) if name in _MOMENTS else value
        for name, value in asdict(part).items()
    }


def _absolute(path: str | None) -> str:
    return os.path.abspath(path) if path else ""


def _command(address: Address) -> list[str]:
    """The command line that serves there, for a system that starts it."""
    given = ["--listen", address.host, "--port", str(address.port)]
    if address.certificate:
        given += ["--tls-cert", address.certificate, "--tls-key", address.key]
    if address.authority:
        given += ["--tls-ca", address.authority]
    if address.servers:
        given += ["--cluster", ",".join(address.servers)]
    return [sys.executable, "-I", "-m", "shim.commands", "fleet", "serve", *given]


def _environment() -> dict[str, str]:
    """What it must be told to have the same store."""
    where = environment.get("NSED_SESSION_DIR")
    return {"NSED_SESSION_DIR": os.path.abspath(where)} if where else {}

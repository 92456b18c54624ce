"""Checks of the fleet, where one is configured: the server, its limits, and what it has of ours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from shim.base import environment
from shim.base.messages import Failure
from shim.base.plain_text import shell_word
from shim.base.session_key import stored_key
from shim.checks.finding import Finding, counted, ok, problem, warning
from shim.fleet import daemon_client, extra, keys, overview
from shim.fleet.serving import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shim.checks.setup import Setup
    from shim.fleet.overview import Status

_COPIES = 3
# A record with its headers.
_LARGEST_RECORD = 512 << 10
_NEARLY = 0.8
_STREAM = "claude_transcripts"


def fleet(setup: Setup) -> Iterator[Finding]:
    """The fleet's server can be reached, keeps what it is given, and has all of this host."""
    if setup.store is None or not daemon_client.is_configured():
        return
    if not extra.is_installed():
        yield problem("NSED_FLEET_URL is set, and NATS's client is not here", extra.how_to_add())
        return
    yield from _credentials()
    yield from _keys()
    try:
        status = overview.status(str(setup.store))
    except Failure as failure:
        yield problem(str(failure), "claude-shim fleet stop, and try again")
        return
    yield from _server(status.backend, serves_here=bool(Server(str(setup.store)).pid()))
    yield from _sync_daemon(status)
    if status.backend["is_reachable"] and status.backend["is_sealed"]:
        yield from _sealed(str(setup.store))


def _credentials() -> Iterator[Finding]:
    """The file of credentials can be read, by this user alone."""
    path = environment.get("NSED_FLEET_CREDS")
    if not path:
        return
    if not os.access(path, os.R_OK):
        yield problem(f"{path} cannot be read", "name the file of credentials in NSED_FLEET_CREDS")
    elif os.stat(path).st_mode & 0o077:
        fix = f"chmod go= {shell_word(path)}"
        yield warning(f"{path}, which lets one into the fleet, is open to others", fix)


def _keys() -> Iterator[Finding]:
    """The file of keys can be read, by this user alone."""
    path = environment.get("NSED_FLEET_KEY_FILE")
    if not path:
        return
    try:
        found = len(keys.read(path))
    except Failure as failure:
        yield problem(str(failure), "see to that: `claude-shim help fleet`")
        return
    if not extra.can_encrypt():
        yield problem(
            "NSED_FLEET_KEY_FILE is set, and cryptography is not here", extra.how_to_add()
        )
    else:
        yield ok(f"{counted(found, 'key')} in {path}, of which the first one seals")


def _sealed(store: str) -> Iterator[Finding]:
    """What other hosts have encrypted can be read here."""
    try:
        locked = overview.unreadable(store)
    except Failure as failure:
        yield problem(str(failure), "claude-shim fleet status")
        return
    if locked:
        yield warning(
            f"{counted(locked, 'conversation')} of the fleet cannot be read with the keys here",
            "add the key that other hosts have: `claude-shim help fleet`",
        )
    else:
        yield ok("all conversations of the fleet can be read with the keys here")


def _server(backend: Mapping[str, Any], serves_here: bool) -> Iterator[Finding]:
    if not backend["is_reachable"]:
        yield problem(
            f"the fleet is not reached, and rooms are this host's alone: {backend['why']}",
            "see to that reason: `claude-shim help fleet`",
        )
        return
    yield ok(f"nats-server {backend['version']} at {backend['url']}")
    stream = backend["stream"]
    if backend["max_payload"] < _LARGEST_RECORD:
        yield problem(
            f"the server takes no more than {backend['max_payload']:,} bytes at once",
            "set `max_payload: 1MB` in its configuration",
        )
    if stream is None:
        return
    if backend["is_cluster"]:
        yield from _cluster(stream["replicas"])
    yield from _limits(stream)
    yield ok(
        "the server writes each record to the disk before it counts"
        if serves_here
        else "a power cut of the server loses nothing if it has `sync_interval: always`"
    )


def _cluster(copies: int) -> Iterator[Finding]:
    if copies < _COPIES:
        yield warning(
            f"{counted(copies, 'server')} of the cluster has the conversations: they wait for it",
            f"nats stream edit {_STREAM} --replicas={_COPIES}",
        )


def _limits(stream: Mapping[str, Any]) -> Iterator[Finding]:
    if stream["discard"] != "new":
        yield problem(
            "the server drops the oldest conversations when it is full",
            f"nats stream edit {_STREAM} --discard=new",
        )
    if stream["taken"] >= _NEARLY:
        yield problem(
            f"{stream['taken']:.0%} of the space for conversations is taken",
            f"nats stream edit {_STREAM} --max-bytes=…, or delete some: claude-shim delete ROOM",
        )


def _sync_daemon(status: Status) -> Iterator[Finding]:
    """Nothing of this host is missing in the fleet, or went on beside it."""
    waiting = [each for each in status.here if each.behind and not each.pid]
    for each in waiting:
        yield warning(
            f"{stored_key(each.room, each.agent)}: {each.behind:,} bytes are not in the fleet yet",
            "they are sent when the server is reached",
        )
    for each in status.here:
        if each.is_fenced:
            yield warning(
                f"another host has taken {stored_key(each.room, each.agent)} from a claude here",
                "end that claude; what it added is a fork: claude-shim show",
            )
    for late in status.failed:
        yield warning(
            f"{stored_key(late.room, late.agent)}: an answer was seen before the fleet had it"
            f" ({late.why})",
            "nothing, unless the host dies before `claude-shim fleet status` says that all is sent",
        )
    if not waiting:
        live = counted(len([each for each in status.here if each.pid]), "conversation")
        yield ok(f"the sync daemon is process {status.pid}, and follows {live}")

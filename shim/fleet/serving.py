"""The NATS server that `claude-shim fleet serve` runs: its files, its address, its life.

It is nats-server itself, with JetStream, and its data beside the store. It holds a lock through the
exec that made it: the lock says whether a server runs here, and as which process.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base import environment, files, programs
from shim.base.messages import Failure
from shim.base.plain_text import printable
from shim.fleet import extra
from shim.locks.record_lock import Lock

if TYPE_CHECKING:
    from typing import NoReturn

_LAST_PORT = 65535
PORT = 4222
"""NATS's own."""
LOOPBACK = "127.0.0.1"

_NAME = "nats-server"
_OLDEST = (2, 12)
"""Older ones lose acknowledged records when a cluster changes its leader (help facts, "NATS")."""
# Seconds until a server answers, and until one that was told to end has ended: with a large log.
_PATIENCE = 60.0
_NAP = 0.01
_CONFIGURATION = """\
# Written by `claude-shim fleet serve`, and anew each time.
listen: {listen}
authorization {{ token: {token} }}
# An answer that was seen is on the disk: without this, up to two minutes later.
jetstream {{ store_dir: {data}, sync_interval: always }}
ports_file_dir: {ports}
logfile_size_limit: 10MB
logfile_max_num: 2
"""
_TLS = "tls {{ cert_file: {certificate}, key_file: {key}{authority} }}\n"
# Servers let one another in by the token of the hosts: who has that can read all anyway.
_CLUSTER = """\
server_name: {name}
cluster {{
  name: {cluster}
  listen: {listen}
  authorization {{ user: {cluster}, password: {token} }}
  routes: [{routes}]
  {tls}}}
"""
_CLUSTER_NAME = "claude-shim"


@dataclass(frozen=True)
class Address:
    """Where a server listens, and the files of its certificate, where it speaks TLS."""

    host: str = LOOPBACK
    port: int = PORT
    certificate: str = ""
    key: str = ""
    authority: str = ""
    """Whose certificates hosts and other servers have to show; empty where none is asked for."""
    servers: tuple[str, ...] = ()
    """The addresses of a cluster's servers, this one's among them; without a cluster none."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_open(self) -> bool:
        """Whether what is said crosses a network for everyone on the way to read."""
        return not self.is_local and not self.certificate

    @property
    def listens_at(self) -> list[tuple[str, int]]:
        """The hosts and ports that it needs: the second is that of the cluster's servers."""
        ports = [self.port, _route_port(self.port)] if self.servers else [self.port]
        return [(self.host, port) for port in ports]

    def __str__(self) -> str:
        return _joined(self.host, self.port)

    def url(self, token: str) -> str:
        """What NSED_FLEET_URL is on the hosts of the fleet."""
        is_everywhere = self.host in ("0.0.0.0", "::")
        host = socket.gethostname() if is_everywhere else self.host
        scheme = "tls" if self.certificate else "nats"
        places = [_split_address(each, self.port) for each in self.servers] or [(host, self.port)]
        return ",".join(f"{scheme}://{token}@{_joined(*place)}" for place in places)

    def cluster(self, token: str) -> str:
        """What the configuration says of the cluster; empty where there is none."""
        if not self.servers:
            return ""
        places = [_split_address(each, self.port) for each in self.servers]
        routes = (
            json.dumps(f"nats-route://{_CLUSTER_NAME}:{token}@{_joined(host, _route_port(port))}")
            for host, port in places
        )
        return _CLUSTER.format(
            name=json.dumps(str(self)),
            cluster=json.dumps(_CLUSTER_NAME),
            listen=json.dumps(_joined(self.host, _route_port(self.port))),
            token=json.dumps(token),
            routes=", ".join(routes),
            tls=self.tls(),
        )

    def tls(self) -> str:
        """What the configuration says of TLS; empty where there is none."""
        if not self.certificate:
            return ""
        authority = f", ca_file: {_quoted(self.authority)}, verify: true" if self.authority else ""
        return _TLS.format(
            certificate=_quoted(self.certificate), key=_quoted(self.key), authority=authority
        )


def parse_address(text: str, port: int | None) -> tuple[str, int]:
    """The host and port of ADDRESS or ADDRESS:PORT; `port` is the one that was given apart.

    Raises ValueError where the two differ, or the port is none.
    """
    host, named = _split_address(text, 0)
    if not host or (named and port not in (None, named)) or named > _LAST_PORT:
        raise ValueError(text)
    return host, named or port or PORT


class Server:
    """The server of a store, running or not."""

    def __init__(self, store: str) -> None:
        self._directory = Path(store, "server")
        self._configuration = self._directory / "server.conf"

    @property
    def data(self) -> Path:
        """Where its data is."""
        return self._directory / "data"

    def pid(self) -> int | None:
        """The process that serves now, if there is one."""
        try:
            file = os.open(self._directory / "lock", os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            holder = Lock(file, 0).holder()
            return holder.pid if holder else None
        finally:
            os.close(file)

    def configure(self, address: Address) -> str:
        """Write what the server is to be told; return the URL that the fleet's hosts need.

        Raises Failure where a server runs that was told something else.
        """
        files.make_directory(str(self._directory))
        token = self._token(address)
        text = _CONFIGURATION.format(
            listen=json.dumps(str(address)),
            token=json.dumps(token),
            data=_quoted(self.data),
            ports=_quoted(self._directory),
        )
        text += address.tls() + address.cluster(token)
        is_as_before = _content(self._configuration) == text
        if not is_as_before and (pid := self.pid()):
            raise Failure(
                f"a server runs here already, as process {pid}, and otherwise:"
                " `claude-shim fleet stop` ends it"
            )
        if not is_as_before:
            files.replace(str(self._configuration), text.encode())
        return address.url(token)

    def require_able(self, address: Address) -> None:
        """Make sure that the server can run as it is configured. Raises Failure."""
        checked = programs.run(
            [binary(), "-t", "-c", str(self._configuration)], os.environ, _PATIENCE
        )
        if checked.exit_code:
            reason = (
                (checked.output + checked.errors).strip().splitlines() or ["it prints nothing"]
            )[-1]
            raise Failure(f"the server does not start: {printable(reason)}")
        for host, port in address.listens_at:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                socket.create_server((host, port), family=family).close()
            except OSError as problem:
                raise Failure(
                    f"the server cannot listen at {_joined(host, port)}: {problem.strerror}"
                ) from problem

    def require_free(self) -> None:
        """Raise Failure where a server runs already."""
        if self.pid():
            raise self._runs_already()

    def become(self) -> NoReturn:
        """Become the server. Raises Failure where one runs already, or none can run."""
        program = binary()
        file = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(file, True)
        os.umask(0o077)
        if not Lock(file, 0).try_acquire(is_long_running=True):
            raise self._runs_already()
        os.execv(program, [_NAME, "-c", str(self._configuration)])

    def start(self) -> None:
        """Start the server in the background, and wait until it answers. Raises Failure."""
        binary()
        for left in self._directory.glob("*.ports"):  # by one that was killed
            left.unlink()
        child = os.fork()
        if not child:
            self._leave_and_become()
        deadline = time.monotonic() + _PATIENCE
        # The server writes it when it listens.
        while not (self._directory / f"{_NAME}_{child}.ports").exists():
            if os.waitpid(child, os.WNOHANG)[0] or time.monotonic() > deadline:
                raise Failure(f"the server does not start: {self._last_words()}")
            time.sleep(_NAP)

    def stop(self) -> bool:
        """End the server, and wait until it has ended; whether there was one. Raises Failure."""
        pid = self.pid()
        if not pid:
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        while self.pid():
            if time.monotonic() > deadline:
                raise Failure(f"the server does not end: process {pid}")
            time.sleep(_NAP)
        return True

    def _runs_already(self) -> Failure:
        return Failure(f"a server runs here already, as process {self.pid()}")

    def _token(self, address: Address) -> str:
        """The word that hosts are let in by: the same one for as long as the directory stays.

        A cluster has one: that of the URL which this host was told, where there is one.
        """
        path = self._directory / "token"
        told = _token_of(environment.get("NSED_FLEET_URL")) if address.servers else ""
        token = _content(path).strip()
        if not token or (told and told != token):
            token = told or secrets.token_urlsafe(24)
            files.replace(str(path), f"{token}\n".encode())
        return token

    def _leave_and_become(self) -> NoReturn:
        try:
            os.setsid()
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for stream, file in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
                os.dup2(file, stream)
            os.chdir("/")
            self.become()
        except (Failure, OSError) as problem:
            os.write(2, f"{problem}\n".encode())
        finally:
            os._exit(1)

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _last_words(self) -> str:
        """The last line of its log without its number and time."""
        lines = _content(self._log).splitlines() or ["it says nothing"]
        return re.sub(r"^\[\d+\] \S+ \S+ ", "", lines[-1])


def binary() -> str:
    """The path of nats-server: the extra's, else the first on PATH. Raises Failure."""
    found = shutil.which(_NAME, path=sysconfig.get_path("scripts")) or shutil.which(_NAME)
    if found is None:
        raise Failure(f"there is no nats-server here: `{extra.how_to_add()}` adds it")
    said = programs.run([found, "--version"], os.environ, _PATIENCE).output
    version = re.search(r"(\d+)\.(\d+)\.\d+", said)
    if version is None or tuple(map(int, version.groups())) < _OLDEST:
        raise Failure(f"{found} is {said.strip()}: 2.12 is needed; `{extra.how_to_add()}` adds one")
    return found


def _split_address(address: str, port: int) -> tuple[str, int]:
    """An address's host and port, which is the one that is given where it names none."""
    host, colon, named = address.rpartition(":")
    is_named = colon and named.isdigit() and (":" not in host or host.startswith("["))
    return (host.strip("[]"), int(named)) if is_named else (address.strip("[]"), port)


def _route_port(port: int) -> int:
    """The port that the servers of a cluster talk at: NATS's own is 6222, beside 4222."""
    return port + 2000 if port + 2000 <= _LAST_PORT else port - 2000


def _token_of(urls: str) -> str:
    return urls.split(",", 1)[0].partition("://")[2].rpartition("@")[0]


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _quoted(path: str | Path) -> str:
    return json.dumps(os.path.abspath(path), ensure_ascii=False)


def _content(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return ""

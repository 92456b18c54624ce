"""Asking the sync daemon of a store: what calls and hooks need of the fleet, without its weight."""

import posix
import time

from shim.base import environment
from shim.base.messages import Failure, explain
from shim.fleet import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from shim.fleet.protocol import Message

# Seconds for a sync daemon that runs to say that it has heard, and for one that was just started.
_ACKNOWLEDGES_WITHIN = 0.5
_STARTS_WITHIN = 10.0
# How often one is started for a question, and seconds after which it counts as dead again.
_STARTS, _STARTS_AGAIN_AFTER = 3, 2.0
# It says so twice a second while it is at work.
_WORKS_SILENTLY_FOR = 5.0
_NAP = 0.005
# Bytes of an address of a socket, less on macOS.
_LONGEST_ADDRESS = 100
_CHUNK = 1 << 16
_PEER = 17  # SO_PEERCRED of Linux

CONFIGURATION = {
    "fleet": "NSED_FLEET_URL",
    "key_file": "NSED_FLEET_KEY_FILE",
    "creds": "NSED_FLEET_CREDS",
    "ca": "NSED_FLEET_CA",
    "cert": "NSED_FLEET_CERT",
}
"""The fields of a question that name the configuration of who asks, and their variables."""


class Unanswered(Failure):
    """There is no sync daemon, or none that answers."""


def is_configured() -> bool:
    """Whether this process is told of a fleet."""
    return bool(environment.get("NSED_FLEET_URL"))


def configuration() -> "dict[str, str]":
    """How this process reaches its fleet."""
    return {name: environment.get(variable) for name, variable in CONFIGURATION.items()}


def ask(
    store: str,
    request: str,
    starts: bool = True,
    timeout: float = _WORKS_SILENTLY_FOR,
    **fields: "str | int | bytes | None",
) -> "Message":
    """Ask the sync daemon of a store; where none runs, one is started if `starts`.

    It may be silent for `timeout` seconds while it is at work. A question about turns that it does
    not answer, or forgets, is kept for the next daemon. Raises Unanswered.
    """
    ours = configuration() if is_configured() else {}
    question = protocol.encode({"version": protocol.VERSION, "request": request, **ours, **fields})
    try:
        answer = _ask(store, question, starts, timeout)
    except Unanswered:
        _keep(store, request, question)
        raise
    if answer.get("answer") == "alone" and not answer.get("is_noted"):
        _keep(store, request, question)
    return answer


def _keep(store: str, request: str, question: bytes) -> None:
    from shim.fleet import unanswered  # rarely needed

    if request in unanswered.REQUESTS:
        try:
            unanswered.keep(store, question)
        except OSError as problem:
            explain(f"the fleet may learn of this turn late: {problem}")


def _ask(store: str, question: bytes, starts: bool, timeout: float) -> "Message":
    acknowledges_within, started, starts_left = _ACKNOWLEDGES_WITHIN, 0.0, _STARTS if starts else 0
    while True:
        try:
            return _asked(store, question, acknowledges_within, timeout)
        except (FileNotFoundError, ConnectionError) as problem:
            # None there, or one that was just ending, or beginning.
            since = time.monotonic() - started
            if starts_left and since > _STARTS_AGAIN_AFTER:
                _start(store)
                acknowledges_within, started = _STARTS_WITHIN, time.monotonic()
                starts_left -= 1
            elif not starts or since > _STARTS_WITHIN:
                raise Unanswered("no sync daemon runs for this store") from problem
            time.sleep(_NAP)
        except OSError as problem:
            raise Unanswered(f"the sync daemon does not answer ({problem.strerror})") from problem


def _start(store: str) -> None:
    from shim.fleet import starting  # only the first call of a host has to

    starting.start(store)


def _asked(store: str, question: bytes, acknowledges_within: float, timeout: float) -> "Message":
    """One question, and its answer. Raises OSError, Unanswered."""
    connection = _connected(store)
    try:
        connection.settimeout(acknowledges_within)
        _send(connection, question)
        for line in _lines(connection):
            if line != protocol.WAIT.strip():
                return protocol.decode(line)
            connection.settimeout(timeout)
    except TimeoutError as problem:
        raise Unanswered(
            "the sync daemon does not answer: `claude-shim fleet stop` ends it"
        ) from problem
    except protocol.Misunderstood as problem:
        raise Unanswered(str(problem)) from problem
    finally:
        connection.close()
    raise ConnectionResetError


def _connected(store: str) -> "_socket.socket":
    """A connection to the sync daemon, which is this user's. Raises OSError, Unanswered."""
    import _socket  # the module that `socket` wraps takes a twentieth of its time to import

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_ACKNOWLEDGES_WITHIN)
        path = f"{store}/{protocol.SOCKET}"
        if len(path.encode("utf-8", "surrogateescape")) <= _LONGEST_ADDRESS:
            connection.connect(path)
        else:
            _connect_from(store, connection)
        require_own_peer(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect_from(store: str, connection: "_socket.socket") -> None:
    """Connect from within the store's directory, whose path is too long for an address."""
    here = posix.open(".", posix.O_RDONLY)
    try:
        posix.chdir(store)
        connection.connect(protocol.SOCKET)
    finally:
        posix.fchdir(here)
        posix.close(here)


def require_own_peer(connection: "_socket.socket") -> None:
    """Make sure that the other side is this user's. Raises Unanswered."""
    if peer_of(connection) != posix.geteuid():
        raise Unanswered("the sync daemon's socket is another user's")


def peer_of(connection: "_socket.socket") -> int:
    """The user on the other side."""
    import _socket
    import sys

    if sys.platform == "darwin":
        # struct xucred of sys/ucred.h, whose second number is the user.
        answer = connection.getsockopt(0, 1, 76)
    else:
        answer = connection.getsockopt(_socket.SOL_SOCKET, _PEER, 12)
    return int.from_bytes(answer[4:8], sys.byteorder)


def _send(connection: "_socket.socket", question: bytes) -> None:
    rest = memoryview(question)
    while rest:
        rest = rest[connection.send(rest) :]


def _lines(connection: "_socket.socket") -> "Iterator[bytes]":
    pending = b""
    while piece := connection.recv(_CHUNK):
        pending += piece
        *lines, pending = pending.split(b"\n")
        yield from lines
        if len(pending) > protocol.LONGEST:
            return

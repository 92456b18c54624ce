"""Archives: a compressed tar of the mappings, then of the conversations that they name.

An archive can come from anywhere. It is read as a stream of regular files with short names; the
index assigns each its only place. Anything else ends the import.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import shutil
import stat
import tarfile
import tempfile
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from shim.base.messages import warn
from shim.base.session_key import is_session_id
from shim.claude import projects, registry, summary, transcripts
from shim.cli import exchange
from shim.retention import config_directories, pins, restoring
from shim.store import relocations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


MAGIC = b"\x1f\x8b"
# What is here is the beginning of what the archive has.
EXTENDED = "extended"

_INDEX = "mappings.json"
_TRANSCRIPT = "transcript.jsonl"
_SIDECARS = "beside/"
_PROJECT = re.compile(r"[A-Za-z0-9-]{1,255}", re.ASCII)
_DEEPEST = 16
_LONGEST_NAME = 255
# Bytes that stay free on the disk, whatever an archive holds.
_SPARE = 1 << 26
_LEVEL = 5
_UNFINISHED = ".importing"


@dataclass(frozen=True)
class PackedConversation:
    """A conversation in an archive."""

    session_id: str
    project: str
    """Claude's name of its project where the archive was made."""
    directory: str | None
    """Its working directory there."""
    size: int
    """Bytes of its transcript there."""


@dataclass(frozen=True)
class Arrival:
    """The outcome for one conversation of an import."""

    conversation: PackedConversation
    path: str
    """Where its transcript is here, or would be."""
    action: str
    """`added`, `extended`, `unchanged`, `kept` (longer here), `skipped` (another conversation has
    its id here), or `live` (in use by a claude, and left alone)."""


def conversations(store: str, session_ids: Collection[str]) -> list[tuple[PackedConversation, str]]:
    """The conversations that have a transcript or a pinned one, each with its path."""
    found = []
    paths = projects.transcript_paths(frozenset(session_ids))
    for session_id in dict.fromkeys(session_ids):
        path = next(iter(paths.get(session_id, ())), None)
        if path is None and is_session_id(session_id):
            path = next(config_directories.paths_elsewhere(store, session_id), None)
        project = path and path.split("/")[-2]
        if path is None and is_session_id(session_id):
            target = restoring.restore_target(store, session_id)
            if target is not None:
                path, project = pins.path(store, session_id), target.split("/")[-2]
                if transcripts.resumable(path) is None:
                    path = pins.copy_of(path)
        if path and project:
            with contextlib.suppress(OSError, EOFError, zlib.error), _unpacked(path) as file:
                directory = summary.read(file).directory
                is_sound = _PROJECT.fullmatch(project) is not None
                name = project if is_sound else transcripts.project_name(project)
                one = PackedConversation(session_id, name, directory, os.path.getsize(file))
                found.append((one, path))
    return found


@contextlib.contextmanager
def _unpacked(path: str) -> Iterator[str]:
    """The path of a transcript; of a compressed one, that of a temporary file. Raises OSError."""
    if path.endswith(transcripts.ENDING):
        yield path
        return
    with gzip.open(path) as packed, tempfile.NamedTemporaryFile() as file:
        shutil.copyfileobj(packed, file)
        file.flush()
        os.utime(file.name, ns=(0, os.stat(path).st_mtime_ns))
        yield file.name


def write(
    to: BinaryIO,
    mappings: bytes,
    store: str,
    steps: Iterable[tuple[PackedConversation, str]],
    packed: Iterable[PackedConversation],
) -> None:
    """Write an archive of an export and of conversations, each with the path of its transcript.

    `steps` yields `packed` with their paths, and shows progress. Raises OSError.
    """
    index = {**json.loads(mappings), "conversations": [vars(each) for each in packed]}
    text = json.dumps(index, indent=1).encode()
    with (
        gzip.GzipFile("", "wb", _LEVEL, to, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
    ):
        _add(tar, _INDEX, io.BytesIO(text), len(text), 0)
        for conversation, path in steps:
            own = conversation.session_id
            with _unpacked(path) as transcript:
                _add_file(tar, f"{own}/{_TRANSCRIPT}", transcript)
            sidecars = _files_in(f"{store}/{pins.FOLDER}/{own}")
            sidecars.update(_files_in(f"{os.path.dirname(path)}/{own}"))
            for name, file in sorted(sidecars.items()):
                _add_file(tar, f"{own}/{_SIDECARS}{name}", file)


def _files_in(directory: str) -> dict[str, str]:
    return {
        os.path.relpath(f"{where}/{name}", directory): f"{where}/{name}"
        for where, _, names in os.walk(directory)
        for name in names
    }


def _add_file(tar: tarfile.TarFile, name: str, path: str) -> None:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as problem:
        warn(f"{path} is left out: {problem.strerror}")
        return
    with open(number, "rb") as file:
        status = os.fstat(number)
        if stat.S_ISREG(status.st_mode):
            try:
                _add(tar, name, file, status.st_size, status.st_mtime)
            except ValueError as problem:  # the name or the file is too long for a tar
                warn(f"{path} is left out: {problem}")


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int, written: float) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, int(written), 0o600
    tar.addfile(member, file)


class _TarEntry(tarfile.TarInfo):
    """A member that must be a regular file. Raises ClickException for any other."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _TarEntry:
        member = super().frombuf(buf, encoding, errors)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.size < 0:
            raise click.ClickException(f"it holds {member.name!r}, which is no regular file")
        return member


class Archive:
    """An archive that is read once, from beginning to end. Raises ClickException."""

    def __init__(self, stream: BinaryIO, source: str) -> None:
        self._source = source
        with self._explained():
            self._tar = tarfile.TarFile.open(
                fileobj=gzip.GzipFile(fileobj=stream), mode="r|", tarinfo=_TarEntry
            )
            first = self._tar.next()
            if first is None or first.name != _INDEX or first.size > exchange.LARGEST:
                raise click.ClickException("it does not begin with mappings")
            self.mappings = self._content(first).read()
            exchange.require_bounded(self.mappings, _INDEX)
            index = json.loads(self.mappings)
            self.conversations = [_conversation(each) for each in index["conversations"]]

    def unpack(self, to: Destinations) -> Iterator[Arrival]:
        """Write each conversation where claude finds it here, and yield the outcome."""
        by_id = {each.session_id: each for each in self.conversations}
        arrivals: dict[str, Arrival] = {}
        with self._explained():
            while (member := self._tar.next()) is not None:
                session_id, _, name = member.name.partition("/")
                if session_id not in by_id:
                    raise click.ClickException(f"it holds {member.name!r}, of no conversation")
                content = self._content(member)
                if name == _TRANSCRIPT and session_id not in arrivals:
                    arrivals[session_id] = to.write(by_id[session_id], member, content)
                    yield arrivals[session_id]
                elif name.startswith(_SIDECARS) and session_id in arrivals:
                    sidecar = _harmless(name[len(_SIDECARS) :])
                    to.write_sidecar(arrivals[session_id], sidecar, member, content)
                else:
                    raise click.ClickException(f"it holds {member.name!r}, of no use")
            if missing := len(by_id) - len(arrivals):
                raise click.ClickException(f"it ends before {missing:,} of its conversations")

    def _content(self, member: tarfile.TarInfo) -> BinaryIO:
        content = self._tar.extractfile(member)
        if content is None:
            raise click.ClickException(f"it holds {member.name!r}, which is no regular file")
        return content  # type: ignore[return-value]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except click.ClickException as problem:
            raise click.ClickException(f"{self._source}: {problem.message}") from problem
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise click.ClickException(
                f"the archive {self._source} is damaged: {problem}"
            ) from problem
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            raise click.ClickException(f"{self._source} is no archive of ours") from problem


class Destinations:
    """Where each conversation of an archive belongs on this machine."""

    def __init__(
        self, store: str, moves: Mapping[str, str], packed: Iterable[PackedConversation]
    ) -> None:
        self._store = store
        self._moves = moves
        self._existing = projects.transcript_paths({each.session_id for each in packed})
        self._live = set(registry.conversations().values())

    def predict(self, conversation: PackedConversation) -> Arrival:
        """The likely outcome for a conversation, judged by sizes. Writes nothing."""
        path, here = self._locate(conversation)
        size = os.path.getsize(here) if here else -1
        if conversation.session_id in self._live:
            action = exchange.LIVE
        elif size < 0:
            action = exchange.ADDED
        elif size == conversation.size:
            action = exchange.UNCHANGED
        else:
            action = exchange.KEPT if size > conversation.size else EXTENDED
        return Arrival(conversation, path, action)

    def write(
        self, conversation: PackedConversation, member: tarfile.TarInfo, content: BinaryIO
    ) -> Arrival:
        """Write a transcript, unless the one here is longer or another, and pin it."""
        path, here = self._locate(conversation)
        if conversation.session_id in self._live:
            return Arrival(conversation, path, exchange.LIVE)
        action = _write(path, here, member, content)
        if action in (exchange.ADDED, EXTENDED) and pins.days():
            restoring.update_pin(self._store, conversation.session_id, path)
        return Arrival(conversation, path, action)

    def write_sidecar(
        self, arrival: Arrival, name: str, member: tarfile.TarInfo, content: BinaryIO
    ) -> None:
        """Write a sidecar of a transcript, unless the transcript was left alone."""
        if arrival.action in (exchange.LIVE, exchange.SKIPPED):
            return
        path = f"{arrival.path.removesuffix(transcripts.ENDING)}/{name}"
        for number in range(name.count("/") + 1):
            above = path.rsplit("/", number + 1)[0]
            if os.path.islink(above):
                raise click.ClickException(f"{above} is a link: nothing is written through it")
        _write(path, path if os.path.lexists(path) else None, member, content)

    def _locate(self, conversation: PackedConversation) -> tuple[str, str | None]:
        """The path of a transcript on this machine, and the file that has it now, if any."""
        own = conversation.session_id
        existing = self._existing.get(own)
        existing = existing or list(config_directories.paths_elsewhere(self._store, own))
        if existing:
            return existing[0], existing[0]
        project = conversation.project
        directory = relocations.here(conversation.directory or "", self._moves)
        if directory != (conversation.directory or ""):
            name = transcripts.project_name(directory)
            project = name if len(name) <= transcripts.LONGEST_PROJECT_NAME else project
        path = f"{transcripts.projects_directory()}/{project}/{own}{transcripts.ENDING}"
        is_pinned = pins.is_pinned(self._store, own)
        return path, pins.path(self._store, own) if is_pinned else None


def _write(path: str, here: str | None, member: tarfile.TarInfo, content: BinaryIO) -> str:
    """Write a member to a path, and return the outcome, an action.

    A file that is `here` is replaced only if the member begins with all of it.
    """
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if member.size + _SPARE > shutil.disk_usage(directory).free:
        raise click.ClickException(f"{directory} has no space for {member.size:,} bytes")
    unfinished = path + _UNFINISHED
    with contextlib.suppress(FileNotFoundError):
        os.unlink(unfinished)
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(unfinished, flags, 0o600), "w+b") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            action = exchange.ADDED if here is None else _compared(here, file, member.size)
        if action in (exchange.ADDED, EXTENDED):
            # A time that is still to come, or before any, is claude's clean-up no age.
            written = min(max(member.mtime, 0), time.time())
            os.utime(unfinished, (written, written))
            os.replace(unfinished, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)
    return action


def _compared(here: str, file: BinaryIO, size: int) -> str:
    """The action for a member whose file exists here."""
    number = os.open(here, os.O_RDONLY | os.O_NONBLOCK)
    with open(number, "rb") as known:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            return exchange.SKIPPED
        left = min(size, status.st_size)
        file.seek(0)
        while left:
            length = min(left, 1 << 20)
            piece = file.read(length)
            if not piece or piece != known.read(length):
                return exchange.SKIPPED
            left -= length
    if status.st_size == size:
        return exchange.UNCHANGED
    return exchange.KEPT if status.st_size > size else EXTENDED


def _conversation(item: dict[str, Any]) -> PackedConversation:
    found = PackedConversation(item["session_id"], item["project"], item["directory"], item["size"])
    is_sound = (
        is_session_id(found.session_id)
        and _PROJECT.fullmatch(found.project)
        and isinstance(found.directory, (str, type(None)))
        and isinstance(found.size, int)
    )
    if not is_sound:
        raise ValueError("no conversation")
    return found


def _harmless(name: str) -> str:
    """A relative path that stays inside its directory. Raises ClickException for any other."""
    parts = name.split("/")
    is_odd = any(
        part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > _LONGEST_NAME
        for part in parts
    )
    if is_odd or len(parts) > _DEEPEST:
        raise click.ClickException(f"it holds {name!r}, which is no path to write to")
    return name

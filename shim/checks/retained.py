"""Checks of what claude's own clean-up would delete."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base import times
from shim.base.session_key import is_session_id
from shim.checks.finding import Finding, counted, ok, problem, warning
from shim.checks.setup import quietly
from shim.claude import cleanup, lineage, transcripts
from shim.retention import compressed, config_directories, hard_links, pins

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shim.checks.setup import Setup

# Days before claude may delete a conversation.
_SOON = 7
# Megabytes.
_WORTH_SAYING = 0.05


def clean_up(setup: Setup) -> Iterator[Finding]:
    """Mapped conversations are safe from claude's own clean-up."""
    config = Path(transcripts.config_directory())
    for path in (config / "settings.json", Path(".claude", "settings.json")):
        if not _is_json(path):
            yield problem(f"{path} is no JSON: claude ignores it", "correct it")
    days = cleanup.period(str(config / "projects" / "any" / "any.jsonl"))
    rule = f"claude deletes transcripts idle for {counted(days, 'day')}"
    idle = _idle_days(setup)
    kept_days = quietly(pins.days)
    unkept = {path: age for path, age in idle.items() if not kept_days or not _is_kept(setup, path)}
    over = sum(age >= days for age in unkept.values())
    soon = sum(days - _SOON <= age < days for age in unkept.values())
    if over or soon:
        yield warning(
            f"{rule}: of {counted(len(idle), 'conversation')}, {over} can be deleted any time, and"
            f" {soon} within {_SOON} days",
            "make a call with a room: it starts the housekeeping that pins them"
            if kept_days
            else 'set "cleanupPeriodDays": 365 in ~/.claude/settings.json, or unset NSED_KEEP_DAYS',
        )
    elif not idle:
        yield ok(f"{rule}; there is no conversation yet")
    elif not kept_days:
        yield ok(f"{rule}: none of {counted(len(idle), 'conversation')} is near it")
    else:
        how = "" if _can_link(setup, config) else ", as copies: the store is on another filesystem"
        pinned = f"{len(idle) - len(unkept)} of {counted(len(idle), 'conversation')}"
        others = "; the next call or the daily housekeeping pins the others" if unkept else ""
        took = _size_of_copies(setup) / 1e6
        copied = f"; compressed copies take {took:,.1f} MB" if took >= _WORTH_SAYING else ""
        yield ok(f"{rule}; pinned, and safe from that: {pinned}{how}{others}{copied}")
    yield from _oddities(setup, idle)


def _oddities(setup: Setup, mapped: Iterable[Path]) -> Iterator[Finding]:
    """Transcripts that got shorter, are in another config directory, or share a session id."""
    store = str(setup.store)
    cut = apart = replaced = 0
    for path in mapped:
        kept = pins.path(store, path.stem)
        try:
            cut += compressed.is_shorter(str(path), pins.copy_of(kept))
            if not hard_links.is_same(kept, str(path)):
                are_two = _are_two(kept, str(path))
                apart += are_two
                replaced += not are_two and _is_link_to_another(kept, path)
        except OSError:
            continue  # it has just been deleted, or may not be read
    if cut:
        yield warning(
            f"{counted(cut, 'transcript')} lost a part, which claude only does with"
            " CLAUDE_CODE_TRANSCRIPT_LOCAL_GC; the longer version is in"
            f" {store}/{pins.FOLDER} as a .jsonl.gz",
            "compare them, unless you cut it yourself",
        )
    if apart:
        yield warning(
            f"{counted(apart, 'conversation')} of this config directory shares its id with another"
            " config directory's, and only that one is pinned",
            "set NSED_SESSION_DIR to another directory for one of the two",
        )
    if replaced:
        yield warning(
            f"{counted(replaced, 'transcript')} was replaced since it was pinned, and the new one"
            " is not pinned yet",
            "make a call of its room, or wait for the daily housekeeping",
        )
    there = {path.stem for path in mapped}
    entries = setup.contents.entries() if setup.store else ()
    ids = {entry[2] for entry in entries if is_session_id(entry[2])} - there
    others = [path for each in ids for path in config_directories.paths_elsewhere(store, each)]
    for config in sorted({transcripts.config_directory_of(path) for path in others}):
        count = sum(transcripts.config_directory_of(path) == config for path in others)
        yield ok(f"{counted(count, 'conversation')} in another config directory, {config}")


def _are_two(kept: str, transcript: str) -> bool:
    if not os.path.exists(kept) or hard_links.is_current_copy(transcript, kept):
        return False
    return not lineage.read(kept).are_one_with(lineage.read(transcript))


def _size_of_copies(setup: Setup) -> int:
    kept = _listed(f"{setup.store}/{pins.FOLDER}")
    return sum(entry.stat().st_size for entry in kept if entry.name.endswith(".gz"))


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (ValueError, RecursionError):
        return False
    return True


def _is_kept(setup: Setup, transcript: Path) -> bool:
    if setup.store is None or not pins.is_pinned(str(setup.store), transcript.stem):
        return False
    return not _is_link_to_another(pins.path(str(setup.store), transcript.stem), transcript)


def _is_link_to_another(kept: str, transcript: Path) -> bool:
    """Whether a pin is a hard link, but not to this transcript."""
    try:
        pinned, there = os.stat(kept), transcript.stat()
    except OSError:
        return False
    is_link = pinned.st_mode & stat.S_IWUSR  # nobody writes a copy
    return bool(is_link) and not os.path.samestat(pinned, there)


def _can_link(setup: Setup, config: Path) -> bool:
    """Whether transcripts and the store are on one filesystem, as far as both are there."""
    places = (setup.store, config / "projects")
    return len({place.stat().st_dev for place in places if place and place.is_dir()}) < 2


def _idle_days(setup: Setup) -> dict[Path, float]:
    """For each transcript of a mapped conversation, the days since it was written."""
    if setup.store is None:
        return {}
    mapped = {f"{entry[2]}.jsonl" for entry in setup.contents.entries()}
    return {
        Path(entry.path): (time.time() - entry.stat().st_mtime) / times.DAY
        for project in _directories(transcripts.projects_directory())
        for entry in _listed(project)
        if entry.name in mapped
    }


def _directories(path: str) -> list[str]:
    return [entry.path for entry in _listed(path) if entry.is_dir()]


def _listed(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError:
        return []

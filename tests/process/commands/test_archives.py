"""Conversations taken to another machine: `export --with-conversations`, and `import` of that."""

import gzip
import json
import os
import signal
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shim.claude import transcripts
from tests.support.claude_shim import ask, printed, refused
from tests.support.recorder import PATIENCE, World, wait_until
from tests.support.rooms import U, V, W, entry, register, store, transcript

CLAUDE_SHIM = Path(sys.executable).with_name("claude-shim")
LINE = '{"type":"user","cwd":"/home/ada/app","message":{"role":"user","content":"hello"}}\n'


@pytest.fixture
def there(tmp_path: Path, launcher_path: Path) -> World:
    """Another machine, which has never heard of any of it."""
    (tmp_path / "there").mkdir()
    return World(tmp_path / "there", launcher_path)


@pytest.fixture
def archive(world: World, tmp_path: Path) -> Path:
    """Two rooms: of one all is there, of the other only what is kept."""
    store(world, {"r": {"claude": entry(U)}, "s": {"a": entry(V)}})
    beside = transcript(world, U).with_suffix("") / "subagents" / "agent-1.jsonl"
    beside.parent.mkdir(parents=True)
    beside.write_text("found it")
    gone = transcript(world, V, age=40 * 86400)
    kept = world.store.parent / "kept" / gone.name
    kept.parent.mkdir(mode=0o700)
    gone.rename(kept)
    kept.with_suffix(".from").symlink_to(gone)
    path = tmp_path / "rooms.tar.gz"
    run = ask(world, "export", "--with-conversations", str(path))
    assert (run.exit_code, run.lines) == (0, [f"Wrote 2 mappings and 2 conversations to {path}"])
    return path


def here(world: World, session_id: str, directory: str = "/home/ada/app") -> Path:
    project = transcripts.project_name(directory)
    return world.home / ".claude" / "projects" / project / f"{session_id}.jsonl"


def test_rooms_go_on_on_another_machine(there: World, archive: Path) -> None:
    assert archive.stat().st_mode & 0o777 == 0o600
    said = printed(there, "import", str(archive))
    assert said.startswith(
        "Conversations: 2 added.\n1 of their directories are missing here, such as"
    )
    assert there.mappings == {"r": {"claude": U}, "s": {"a": V}}
    for session_id in (U, V):
        path = here(there, session_id)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.samefile(there.store.parent / "kept" / path.name)
    beside = here(there, U).with_suffix("") / "subagents" / "agent-1.jsonl"
    assert beside.read_text() == "found it"
    call = there.call("-p", env={"NSED_ROOM_ID": "s", "NSED_AGENT_NAME": "a"})
    assert call.args[:2] == [b"--resume", str(here(there, V)).encode()]


def test_a_damaged_transcript_goes_as_the_copy_of_it(world: World, there: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    said = transcript(world, U)
    kept = world.store.parent / "kept" / said.name
    kept.parent.mkdir(mode=0o700)
    kept.with_suffix(".from").symlink_to(said)
    kept.with_name(f"{said.name}.gz").write_bytes(gzip.compress(LINE.encode()))
    kept.write_bytes(b"")
    said.unlink()
    packed = ask(world, "export", "--with-conversations", "-").stdout
    run = ask(there, "import", "-", input=packed)
    assert run.exit_code == 0
    (arrived,) = (there.home / ".claude" / "projects").glob(f"*/{U}.jsonl")
    assert arrived.read_text() == LINE


def test_a_conversation_under_another_config_directory_is_packed(
    world: World, there: World
) -> None:
    store(world, {"r": {"claude": entry(U)}})
    kept = world.store.parent / "kept" / f"{U}.jsonl"
    kept.parent.mkdir(mode=0o700)
    kept.with_suffix(".from").symlink_to(transcript(world, U))
    work = {"CLAUDE_CONFIG_DIR": str(world.home / "work")}
    run = ask(world, "export", "--with-conversations", "-", env=work)
    arrived = ask(there, "import", "-", "--json", input=run.stdout)
    assert [each["action"] for each in json.loads(arrived.stdout)["conversations"]] == ["added"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_export_that_is_ended_leaves_nothing_unfinished(world: World, number: int) -> None:
    store(world, {"r": {"claude": entry(U)}})
    os.truncate(transcript(world, U), 1 << 32)
    place = world.root / "place"
    place.mkdir()
    words = ("export", "--with-conversations", str(place / "rooms.tar.gz"))
    with world.start(*words, program=CLAUDE_SHIM) as exporting:
        wait_until(lambda: any(path.stat().st_size for path in place.iterdir()))
        exporting.send_signal(number)
        exporting.communicate(timeout=PATIENCE)
    assert exporting.returncode == 128 + number
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("archive")
def test_an_archive_goes_through_a_pipe(world: World, there: World) -> None:
    packed = ask(world, "export", "--with-conversations", "/dev/stdout").stdout
    run = ask(there, "import", "-", "--json", input=packed)
    found = json.loads(run.stdout)
    assert [(each["session_id"], each["action"]) for each in found["conversations"]] == [
        (U, "added"),
        (V, "added"),
    ]
    assert json.loads(printed(world, "export", "/dev/stdout"))["format"] == "claude-shim mappings"


def test_a_dry_run_writes_nothing(there: World, archive: Path) -> None:
    said = printed(there, "import", str(archive), "--dry-run", "--map", "/home/ada=/Users/ada")
    assert "Conversations: 2 added (dry run)." in said
    assert "no transcript here" not in said
    assert list(there.home.iterdir()) == []


def test_directories_have_another_place_from_then_on(there: World, archive: Path) -> None:
    new = there.root / "ada"
    (new / "app").mkdir(parents=True)
    printed(there, "import", str(archive), "--map", f"/home/ada={new}")
    assert here(there, U, f"{new}/app").exists()
    resume = printed(there, "show", "r").splitlines()[-1].split(None, 1)[1]
    assert resume == f"cd {new}/app && NSED_SHIM_DISABLE=1 claude --resume {U}"
    call = there.call("-p", env={"NSED_ROOM_ID": "r"}, cwd=new / "app")
    assert call.args[:2] == [b"--resume", U.encode()]


def test_what_is_longer_here_stays(there: World, archive: Path) -> None:
    transcript(there, U)
    longer = here(there, U).read_text() + LINE
    here(there, U).write_text(longer)
    assert "1 added, 1 kept." in printed(there, "import", str(archive))
    assert here(there, U).read_text() == longer


def test_what_was_begun_here_is_resumed(there: World, world: World, archive: Path) -> None:
    printed(there, "import", str(archive))
    with here(world, U).open("a") as lines:
        lines.write(LINE)
    assert ask(world, "export", "--with-conversations", str(archive)).exit_code == 0
    assert "1 extended, 1 unchanged." in printed(there, "import", str(archive))
    assert here(there, U).read_text() == here(world, U).read_text()
    assert here(there, U).samefile(there.store.parent / "kept" / f"{U}.jsonl")


def test_another_conversation_of_the_same_id_stays(there: World, archive: Path) -> None:
    transcript(there, U)
    here(there, U).write_text(LINE)
    run = ask(there, "import", str(archive))
    assert run.exit_code == 0
    assert "left as it is" in run.warning
    assert here(there, U).read_text() == LINE


def test_what_a_claude_is_live_on_is_left_alone(there: World, archive: Path) -> None:
    register(there, U)
    assert ask(there, "import", str(archive)).exit_code == 75
    assert not here(there, U).exists()
    assert here(there, V).exists()


def member(name: str, content: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def index(**changed: Any) -> tuple[tarfile.TarInfo, bytes]:
    one = {"session_id": W, "project": "-home-ada", "directory": None, "size": 1, **changed}
    document = {"format": "claude-shim mappings", "version": 1, "conversations": [one]}
    return member("mappings.json", json.dumps(document).encode())


HOSTILE: list[tuple[str, list[tuple[tarfile.TarInfo, bytes]]]] = [
    (
        "which is no path to write to",
        [index(), member(f"{W}/transcript.jsonl"), member(f"{W}/beside/../../x")],
    ),
    (
        "which is no path to write to",
        [index(), member(f"{W}/transcript.jsonl"), member(f"{W}/beside//etc/x")],
    ),
    ("of no conversation", [index(), member("../../x")]),
    ("of no conversation", [index(), member("/etc/x")]),
    ("of no conversation", [index(), member(f"{U}/transcript.jsonl")]),
    ("of no use", [index(), member(f"{W}/x")]),
    ("of no use", [index(), member(f"{W}/beside/before")]),
    ("of no use", [index(), member(f"{W}/transcript.jsonl"), member(f"{W}/transcript.jsonl")]),
    (
        "which is no regular file",
        [index(), member(f"{W}/transcript.jsonl", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    ),
    (
        "which is no regular file",
        [index(), member(f"{W}/transcript.jsonl", type=tarfile.LNKTYPE, linkname="x")],
    ),
    ("which is no regular file", [index(), member(f"{W}/transcript.jsonl", type=tarfile.FIFOTYPE)]),
    ("which is no regular file", [index(), member(f"{W}/transcript.jsonl", type=tarfile.DIRTYPE)]),
    ("which is no regular file", [index(), member("x", type=tarfile.XHDTYPE)]),
    ("has no space for", [index(), member(f"{W}/transcript.jsonl", size=1 << 60)]),
    ("does not begin with mappings", [member("mappings.json", size=1 << 40)]),
    ("does not begin with mappings", [member("x")]),
    ("is no archive of ours", [index(project="../x")]),
    ("is no archive of ours", [index(session_id="../x")]),
    ("is no archive of ours", [index(directory=1)]),
    ("is no archive of ours", [member("mappings.json", b"[1]")]),
    ("ends before 1 of its conversations", [index()]),
]


@pytest.mark.parametrize(("why", "members"), HOSTILE)
def test_a_hostile_archive_writes_nowhere_else(
    there: World, tmp_path: Path, why: str, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    content = b"".join(
        info.tobuf(tarfile.GNU_FORMAT) + data.ljust(512, b"\0") for info, data in members
    )
    path = tmp_path / "hostile.tar.gz"
    path.write_bytes(gzip.compress(content + bytes(1024)))
    assert why in refused(there, "import", str(path))
    files = {file for file in there.home.rglob("*") if not file.is_dir()}
    assert files <= {
        here(there, W, "/home/ada"),
        there.store.parent / "kept" / f"{W}.jsonl",
        there.store.parent / "kept" / f"{W}.from",
        there.store.parent / "kept" / f"{W}.link",
    }


@pytest.mark.parametrize("at", [1 << 70, -1, 253402300799])
def test_no_time_of_an_archive_is_before_any_or_to_come(
    there: World, tmp_path: Path, at: int
) -> None:
    line = LINE.encode()
    members = [index(), member(f"{W}/transcript.jsonl", line, mtime=at)]
    content = b"".join(
        info.tobuf(tarfile.GNU_FORMAT) + data.ljust(-len(data) // 512 * -512, b"\0")
        for info, data in members
    )
    path = tmp_path / "odd.tar.gz"
    path.write_bytes(gzip.compress(content + bytes(1024)))
    assert "Conversations: 1 added." in printed(there, "import", str(path))
    assert 0 <= here(there, W, "/home/ada").stat().st_mtime <= time.time()


def test_an_index_that_would_take_gigabytes_to_parse_is_refused(
    there: World, tmp_path: Path
) -> None:
    info, data = member("mappings.json", b'{"conversations": [' + b"[]," * 3_000_000 + b"[]]}")
    path = tmp_path / "bomb.tar.gz"
    padded = data + bytes(-len(data) % 512)
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + padded + bytes(1024)))
    assert path.stat().st_size < 1 << 17
    said = refused(there, "import", str(path))
    assert said.endswith("mappings.json has more mappings than claude-shim reads at once")


def test_nothing_is_written_through_a_link(there: World, archive: Path) -> None:
    elsewhere = there.root / "elsewhere"
    elsewhere.mkdir()
    own = here(there, U).with_suffix("")
    own.parent.mkdir(parents=True)
    own.symlink_to(elsewhere)
    assert "nothing is written through it" in refused(there, "import", str(archive))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-40], lambda data: data[:60], lambda data: data[:2] + bytes(90)],
)
def test_a_damaged_archive_is_said_to_be(
    there: World, archive: Path, damage: Callable[[bytes], bytes]
) -> None:
    archive.write_bytes(damage(archive.read_bytes()))
    assert str(archive) in refused(there, "import", str(archive))


def test_an_archive_is_a_tar_that_others_can_read(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    assert names == [
        "mappings.json",
        f"{U}/transcript.jsonl",
        f"{U}/beside/subagents/agent-1.jsonl",
        f"{V}/transcript.jsonl",
    ]


def test_a_map_is_of_two_whole_paths(there: World, archive: Path) -> None:
    refused(there, "import", str(archive), "--map", "ada=/x", exit_code=2)
    said = refused(there, "import", str(archive), "--map", "/home/ada", exit_code=2)
    assert "'/home/ada' is no OLD=NEW" in said
    refused(there, "import", "--from-projects", "--map", "/a=/b", exit_code=2)

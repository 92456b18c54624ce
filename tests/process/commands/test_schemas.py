"""What is stored, and what each `--json` prints, is as the JSON Schema of the manual says."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from shim.cli import pages
from shim.locks.record_lock import all_held
from tests.support import console
from tests.support.claude_shim import ask
from tests.support.recorder import World, wait_until

SCHEMA = json.loads((pages.FOLDER / "schemas.json").read_text("utf-8"))
U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
GONE = "7f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c12"


def validate(name: str, value: Any) -> None:
    schema = {"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)


@contextmanager
def furnished(root: Path, launcher: Path) -> Iterator[World]:
    """A room with two turns, one that had another conversation, one without any, and a live one."""
    world = World(root, launcher)
    console.set_up(world)
    for command in (["install"], ["opencode", "install"]):
        assert ask(world, *command).exit_code == 0
    world.launcher = world.home / ".nsed" / "bin" / "claude"
    for prompt in ("Remember the word heron", "Which word was it?"):
        world.run("-p", prompt, env={"NSED_ROOM_ID": "refactor"})
    world.run("--session-id", U, "-p", "Split the parser")
    world.run("-p", "Write", env={"NSED_ROOM_ID": "docs", "NSED_AGENT_NAME": "writer"})
    assert ask(world, "link", "docs", "writer", U).exit_code == 0
    store = json.loads(world.store.read_text())
    store["gone"] = {"claude": {"uuid": GONE, "last_used": "2026-01-02T03:04:05.123456789Z"}}
    world.store.write_text(json.dumps(store, indent=2))
    with world.start("-p", env={"NSED_ROOM_ID": "live"}, stdin=subprocess.PIPE) as live:
        wait_until(lambda: bool(all_held(str(world.store.parent))))
        yield world
        live.communicate(b"go on\n")


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory, launcher_path: Path) -> Iterator[World]:
    """A world for commands that change nothing."""
    with furnished(tmp_path_factory.mktemp("unchanged"), launcher_path) as world:
        yield world


@pytest.fixture
def changed(tmp_path: Path, launcher_path: Path) -> Iterator[World]:
    """A world for a command that changes it."""
    with furnished(tmp_path, launcher_path) as world:
        yield world


def printed_json(world: World, *args: str) -> Any:
    return json.loads(ask(world, *args, env={"NSED_ROOM_ID": "refactor"}).stdout)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("list", ["list", "--json"]),
        ("show", ["show", "refactor", "claude", "--json"]),
        ("show", ["show", "docs", "writer", "--json"]),
        ("show", ["show", "gone", "claude", "--json"]),
        ("show", ["show", "docs", "--json"]),
        ("search", ["search", "the", "--json"]),
        ("read", ["read", "refactor", "--json"]),
        ("ps", ["ps", "--json"]),
        ("doctor", ["doctor", "--json"]),
        ("explain", ["explain", "--json", "--", "-p", "hi"]),
        ("import", ["import", "--json", "--dry-run", "--from-projects"]),
        ("status", ["status", "--json"]),
        ("which", ["which", "--json"]),
        ("export", ["export"]),
        ("export", ["prune", "--older-than", "30d", "--dry-run", "--json"]),
        ("opencode", ["opencode", "status", "--json"]),
        ("opencode", ["opencode", "status", "--project", "--json"]),
    ],
)
def test_what_a_command_prints(unchanged: World, name: str, args: list[str]) -> None:
    value = printed_json(unchanged, *args)
    assert value
    validate(name, value)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("import", ["import", "--json", "--project", "--room", "app"]),
        ("delete", ["delete", "refactor", "--yes", "--json"]),
        ("forget", ["forget", "refactor", "--json"]),
        ("link", ["link", "refactor", U[:4], "--json"]),
        ("install", ["install", "--json"]),
    ],
)
def test_what_a_command_that_changes_something_prints(
    changed: World, name: str, args: list[str]
) -> None:
    value = printed_json(changed, *args)
    assert value
    validate(name, value)


def test_what_an_import_of_an_archive_prints(changed: World) -> None:
    archive = str(changed.home / "rooms.tar.gz")
    assert ask(changed, "export", "--with-conversations", archive).exit_code == 0
    value = printed_json(changed, "import", archive, "--json")
    assert value["conversations"]
    validate("import", value)


def test_what_is_stored(unchanged: World) -> None:
    validate("sessions.json", json.loads(unchanged.store.read_text()))
    history = unchanged.store.with_name("history.jsonl").read_text().splitlines()
    assert history
    for line in history:
        validate("history.jsonl", json.loads(line))


@pytest.mark.parametrize("definition", SCHEMA["$defs"])
def test_a_definition_is_a_schema_with_words(definition: str) -> None:
    schema = SCHEMA["$defs"][definition]
    Draft202012Validator.check_schema(schema)
    assert schema["title"]
    assert all(it["description"] for it in [schema, *schema.get("properties", {}).values()])


def test_a_field_that_is_not_in_the_schema_is_seen(unchanged: World) -> None:
    value = printed_json(unchanged, "list", "--json")
    value[0]["new"] = 1
    with pytest.raises(ValidationError, match="'new' was unexpected"):
        validate("list", value)

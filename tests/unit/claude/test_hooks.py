"""Whether a plugin's hooks run: the cases that were measured on 2.1.197, 2.1.330 and 2.1.331."""

import json
from pathlib import Path

import pytest

from shim.claude import hooks, invocation

ON, OFF = {"disableAllHooks": False}, {"disableAllHooks": True}


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Where settings of each scope are, none being there."""
    work, home, managed = (tmp_path / name for name in ("work", "home", "managed"))
    for directory in (work / ".claude", home, managed / "managed-settings.d"):
        directory.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home))
    monkeypatch.setattr(hooks, "_MANAGED", str(managed))
    for name in ("CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_SAFE_MODE"):
        monkeypatch.delenv(name, raising=False)
    return {
        "user": home / "settings.json",
        "project": work / ".claude" / "settings.json",
        "local": work / ".claude" / "settings.local.json",
        "managed": managed / "managed-settings.json",
        "managed.d": managed / "managed-settings.d" / "10.json",
    }


@pytest.mark.parametrize(
    ("settings", "args", "may_run"),
    [
        ({}, [], True),
        ({"user": OFF}, [], False),
        ({"project": OFF}, [], False),
        ({"local": OFF}, [], False),
        ({}, ["--settings", json.dumps(OFF)], False),
        ({"user": OFF}, ["--settings", json.dumps(ON)], True),
        ({"user": OFF, "local": ON}, [], True),
        ({"user": OFF, "project": ON}, [], True),
        ({"project": OFF, "local": ON}, [], True),
        ({"user": ON, "project": OFF}, [], False),
        ({"local": OFF}, ["--settings", json.dumps(ON)], True),
        ({}, ["--settings", json.dumps(OFF), "--settings", "{}"], True),
        ({"user": {"disableAllHooks": "true"}}, [], True),
        ({"user": OFF}, ["--setting-sources", "project,local"], True),
        ({"project": OFF}, ["--setting-sources", "user"], True),
        ({"user": OFF}, ["--setting-sources", ""], True),
        ({"user": OFF}, ["--setting-sources", "user, project"], False),
        ({}, ["--bare"], False),
        ({}, ["--safe-mode"], False),
        ({}, ["--bare", "--settings", json.dumps(ON)], False),
        ({"user": {"env": {"CLAUDE_CODE_SIMPLE": "1"}}}, [], False),
        ({"user": {"env": {"CLAUDE_CODE_SIMPLE": "0"}}}, [], True),
        ({"managed": OFF}, [], False),
        ({"managed": OFF}, ["--settings", json.dumps(ON)], False),
        ({"managed": {"allowManagedHooksOnly": True}}, [], False),
        ({"user": {"allowManagedHooksOnly": True}}, [], True),
        ({"managed": ON, "user": OFF}, [], True),
        ({"managed.d": OFF}, [], False),
        ({"managed": OFF, "managed.d": ON}, [], True),
        ({"managed": ON, "managed.d": OFF}, [], False),
    ],
)
def test_settings_and_options_say_whether_hooks_run(
    places: dict[str, Path], settings: dict[str, object], args: list[str], may_run: bool
) -> None:
    for place, content in settings.items():
        places[place].write_text(json.dumps(content))
    assert hooks.may_run(invocation.read(args)) == may_run


@pytest.mark.parametrize(
    ("variable", "value", "may_run"),
    [
        ("CLAUDE_CODE_SIMPLE", "1", False),
        ("CLAUDE_CODE_SAFE_MODE", "1", False),
        ("CLAUDE_CODE_SIMPLE", "0", True),
        ("CLAUDE_CODE_SIMPLE", "", True),
    ],
)
@pytest.mark.usefixtures("places")
def test_variables_switch_hooks_off(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, may_run: bool
) -> None:
    monkeypatch.setenv(variable, value)
    assert hooks.may_run(invocation.read([])) == may_run


@pytest.mark.parametrize("content", ["", "{ disableAllHooks", '["disableAllHooks"]', "\udcff"])
def test_settings_that_claude_cannot_read_say_nothing(
    places: dict[str, Path], content: str
) -> None:
    places["user"].write_bytes(content.encode("utf-8", "surrogateescape"))
    assert hooks.may_run(invocation.read([]))


def test_settings_can_be_a_file(places: dict[str, Path], tmp_path: Path) -> None:
    del places
    (tmp_path / "given.json").write_text(json.dumps(OFF))
    asked = invocation.read(["--settings", str(tmp_path / "given.json")])
    assert not hooks.may_run(asked)

"""`claude-shim doctor`: nothing to say of a good set-up, and the fault of each broken one."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shim
from shim.base.messages import Failure
from shim.install import launcher, python
from shim.install.manifest import import_paths
from shim.store import unrecorded
from tests.support.children import child
from tests.support.claude_shim import ask, ask_process
from tests.support.recorder import World, derived, write_program
from tests.support.rooms import live

PACKAGE = Path(shim.__file__).parent
CLAUDE = """\
#!/bin/sh
PATH=/usr/bin:/bin
case "$*" in
  --version) echo "2.1.330 (Claude Code)" ;;
  --help) printf 'Usage\\n\\nOptions:\\n  -r, --resume [value]\\n\\nCommands:\\n  mcp\\n' ;;
  *--plugin-dir*)
    export CLAUDE_PLUGIN_ROOT="$6"
    event='{"session_id":"'"$4"'","hook_event_name":"SessionEnd"}'
    [ -e "$HOME/no-hooks" ] || echo "$event" | "$6/../follow"
    echo "No conversation found with session ID: $4" >&2
    exit 1 ;;
esac
"""
Json = dict[str, Any]


class Place(World):
    """A world in which helpers of the test's live until its end."""

    def __init__(self, root: Path, launcher: Path) -> None:
        super().__init__(root, launcher)
        self.python = Path(sys.executable)
        self.package = PACKAGE
        self.until_the_end = contextlib.ExitStack()


@pytest.fixture
def good(tmp_path: Path, launcher_path: Path) -> Iterator[Place]:
    """Installed beside the store, first on PATH, with one conversation."""
    world = Place(tmp_path, launcher_path)
    write_program(world.claude.path, CLAUDE)
    store = world.store.parent
    store.mkdir(mode=0o700)
    (store / "housekeeping").touch(mode=0o600)  # today's is done
    world.launcher = launcher.install(store / "bin")
    world.path(store / "bin", world.claude.path.parent, "/usr/bin", "/bin")
    world.environment["SHELL"] = "/bin/bash"
    started = world.run("-p", "hi", env={"NSED_ROOM_ID": "r"})
    assert (started.exit_code, started.stderr) == (0, b"")
    transcript = world.transcript(derived("r"))
    resumed = world.run("-p", "hi", env={"NSED_ROOM_ID": "r"})
    assert (resumed.exit_code, resumed.stderr) == (0, b"")
    assert transcript.exists()
    with world.until_the_end:
        yield world


def claude_shim(world: Place, *args: str) -> tuple[int, str, str]:
    """What it ends with and prints, run by the Python and from the package of this place."""
    if world.python == Path(sys.executable) and world.package == PACKAGE:
        run = ask(world, *args)
    else:
        path = {"PYTHONPATH": str(world.package.parent)}
        # Not `-c`: CPython 3.13.0 then fails to import socket in a directory that is gone.
        run = world.run("-m", "shim.commands", *args, program=world.python, env=path)
    return run.exit_code, run.stdout.decode(), run.stderr.decode()


def examined(world: Place) -> tuple[int, list[Json]]:
    exit_code, output, errors = claude_shim(world, "doctor", "--json")
    assert errors == ""
    return exit_code, json.loads(output)


def test_a_good_set_up_has_nothing_to_fix(good: Place) -> None:
    before = snapshot(good.home)

    exit_code, findings = examined(good)

    assert [finding for finding in findings if finding["status"] != "ok"] == []
    assert [finding for finding in findings if finding["mend"] is not None] == []
    assert exit_code == 0
    assert snapshot(good.home) == before


def snapshot(where: Path) -> dict[Path, tuple[int, int, int]]:
    paths = [where, *where.rglob("*")]
    statuses = {path: path.lstat() for path in paths}
    return {path: (s.st_mode, s.st_mtime_ns, s.st_ino) for path, s in statuses.items()}


# What a person sees


def shown(world: Place) -> str:
    _, output, errors = claude_shim(world, "doctor")
    assert errors == ""
    python = f"{sys.version.split()[0]} in {sys.prefix}"
    return output.replace(python, "PYTHON").replace(str(world.root), "ROOT")


def named_python() -> str:
    return python.choose(import_paths())


def test_the_report_on_a_good_set_up(good: Place) -> None:
    assert re.sub(r"[\d.]+ GB are free", "81.7 GB are free", shown(good)) == (
        "✓ version      0.2.0, with Python PYTHON\n"
        "✓ launcher     ROOT/home/.nsed/bin/claude\n"
        f"✓ python       {named_python()}\n"
        "✓ path         the launcher is the first claude on PATH\n"
        "✓ shell        no alias in a start-up file replaces the launcher\n"
        "✓ claude       2.1.330 (Claude Code), ROOT/real/claude\n"
        "✓ options      discovered from this claude's --help\n"
        "✓ plugin       ROOT/home/.nsed/bin/.claude-shim-plugin\n"
        "✓ hook         it follows the conversation through /clear\n"
        "✓ store        1 mapping in ROOT/home/.nsed/sessions.json\n"
        "✓ privacy      ROOT/home/.nsed is yours alone\n"
        "✓ backup       it has the same mappings\n"
        "✓ locks        flock and fcntl exclude other processes\n"
        "✓ claudes      0 claudes hold locks, none is unmanaged\n"
        "✓ clean-up     claude deletes transcripts idle for 30 days;"
        " pinned, and safe from that: 1 of 1 conversation\n"
        "✓ clock        no recorded time is in the future\n"
        "✓ disk         81.7 GB are free\n"
        "✓ environment  no room and no agent here: claude runs without the shim\n"
        "\n"
        "Nothing needs fixing.\n"
    )


def test_the_report_on_an_empty_home(tmp_path: Path, launcher_path: Path) -> None:
    world = Place(tmp_path, launcher_path)
    world.path("/usr/bin", "/bin")
    world.environment["SHELL"] = "/usr/bin/zsh"
    assert re.sub(r"[\d.]+ GB are free", "81.7 GB are free", shown(world)) == (
        "✓ version      0.2.0, with Python PYTHON\n"
        "✗ launcher     there is none on PATH, nor in ROOT/home/.nsed/bin\n"
        "               fix: claude-shim install\n"
        "✓ shell        no alias in a start-up file replaces the launcher\n"
        "✗ claude       there is none, neither on PATH nor in the usual places\n"
        "               fix: npm install -g @anthropic-ai/claude-code\n"
        "✓ store        no conversation yet: the first call with a room makes"
        " ROOT/home/.nsed/sessions.json\n"
        "✓ clean-up     claude deletes transcripts idle for 30 days;"
        " there is no conversation yet\n"
        "✓ clock        no recorded time is in the future\n"
        "✓ disk         81.7 GB are free\n"
        "✓ environment  no room and no agent here: claude runs without the shim\n"
        "\n"
        "2 problems.\n"
    )


def test_a_terminal_without_unicode_gets_ascii_marks(good: Place) -> None:
    good.environment["PYTHONIOENCODING"] = "ascii"
    good.environment["NSED_ON_BUSY"] = "naïve"
    run = ask_process(good, "doctor")
    assert (run.exit_code, run.stderr) == (1, b"")
    assert b"+ launcher     " in run.stdout
    assert rb"x environment  NSED_ON_BUSY=na\xefve is none of" in run.stdout


# Broken set-ups


def launcher_removed(world: Place) -> None:
    claude_shim(world, "uninstall")


def launcher_off_path(world: World) -> None:
    write_program(world.claude.path.with_name("claude-shim"), "#!/bin/sh\n")
    world.path(world.claude.path.parent, "/usr/bin", "/bin")
    world.environment["SHELL"] = "/usr/bin/fish"


def launcher_behind_another(world: World) -> None:
    other = write_program(world.root / "other" / "claude", CLAUDE)
    world.path(other.parent, world.launcher.parent, world.claude.path.parent, "/usr/bin", "/bin")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def beside(world: World, name: str = "") -> Path:
    return world.launcher.with_name(f".claude-shim{name}")


def python_removed(world: World) -> None:
    (python,) = re.findall("^python .* (/.*)$", beside(world).read_text(), re.MULTILINE)
    edit(beside(world), f" {python}\n", " /nowhere/python3\n")


def python_changed(world: World) -> None:
    edit(beside(world), "python ", "python 1")


def python_of_an_environment(world: World) -> None:
    python = world.root / "venv" / "bin" / "python3"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (world.root / "venv" / "pyvenv.cfg").touch()
    status = python.stat()
    line = f"python {status.st_size} {int(status.st_mtime)} {python}\n"
    _, rest = re.split("^python .*\n", beside(world).read_text(), flags=re.MULTILINE)
    beside(world).write_text(f"claude-shim 1\n{line}{rest}")


def package_removed(world: World) -> None:
    for path in (beside(world, "-program.py"), launcher.hook_script(world.launcher.parent)):
        edit(path, str(PACKAGE.parent), "/nowhere")
    beside(world, "-modules").unlink()


def package_half_written(world: World) -> None:
    package = world.root / "package"
    shutil.copytree(PACKAGE, package / "shim", ignore=shutil.ignore_patterns("__pycache__"))
    edit(beside(world, "-program.py"), str(PACKAGE.parent), str(package))
    edit(package / "shim/call/wrapper.py", "def main", "def other")
    beside(world, "-modules").unlink()


def launcher_of_another_version(world: World) -> None:
    with world.launcher.open("a") as file:
        file.write("# as another version writes it\n")


def launcher_of_before(world: World) -> None:
    write_program(world.launcher, "#!/nowhere/python3 -IS\n# claude-shim launcher: of before\n")
    beside(world).unlink()


def another_claude_shim(world: Place) -> None:
    world.package = world.root / "another" / "shim"
    shutil.copytree(PACKAGE, world.package, ignore=shutil.ignore_patterns("__pycache__"))


def modules_outdated(world: World) -> None:
    beside(world, "-modules").write_bytes(b"of another Python")


def launcher_that_is_not_executable(world: World) -> None:
    world.launcher.chmod(0o644)


def foreign_claude_in_the_launchers_place(world: World) -> None:
    world.launcher.unlink()
    write_program(world.launcher, CLAUDE)


def alias(world: World) -> None:
    (world.home / ".zshrc").write_text('alias claude="~/.claude/local/claude"\n')


def shell_function(world: World) -> None:
    (world.home / ".bashrc").write_text("# mine\nclaude() {\n  /opt/claude --verbose\n}\n")


def no_claude(world: World) -> None:
    world.claude.path.unlink()


def claude_that_crashes(world: World) -> None:
    write_program(world.claude.path, "#!/bin/sh\necho out of memory >&2\nexit 3\n")


def claude_that_hangs(world: World) -> None:
    write_program(world.claude.path, "#!/bin/sh\nexec sleep 100\n")


def wrapper_that_comes_back(world: World) -> None:
    write_program(world.claude.path, f'#!/bin/sh\nexec {world.launcher} "$@"\n')


def claude_with_another_help(world: World) -> None:
    write_program(world.claude.path, "#!/bin/sh\necho 3.0.0 is another program\n")
    world.run("-p", "hi", env={"NSED_ROOM_ID": "r"})


def shim_of_mise_without_a_version(world: World) -> None:
    shim = '#!/bin/sh\n[ "$1" = --version ] && echo 2.1.330 && exit\nexec mise x claude -- "$@"\n'
    write_program(world.claude.path, shim)
    mise = write_program(world.root / "tools" / "mise", "#!/bin/sh\necho no version >&2; exit 1\n")
    world.environment["PATH"] += f":{mise.parent}"
    world.run("-p", "hi", env={"NSED_ROOM_ID": "r"})


def claude_updated_unseen(world: World) -> None:
    """As behind a script that does not say what it runs."""
    path = world.claude.path
    status = path.stat()
    path.write_text(path.read_text().replace("  mcp", "  new"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def named_claude_missing(world: World) -> None:
    world.environment["NSED_CLAUDE_BIN"] = "/nowhere/claude"


def plugin_changed(world: World) -> None:
    hooks = launcher.plugin(world.launcher.parent) / "following" / "hooks" / "hooks.json"
    hooks.write_text("{}")


def plugin_removed(world: World) -> None:
    shutil.rmtree(launcher.plugin(world.launcher.parent))


def hooks_switched_off(world: World) -> None:
    (world.home / "no-hooks").touch()


def hook_that_speaks(world: World) -> None:
    edit(
        launcher.hook_script(world.launcher.parent),
        "`claude-shim install`.\n",
        "`claude-shim install`.\nprint('hi', flush=True)\n",
    )


def hook_that_records_nothing(world: World) -> None:
    edit(launcher.hook_script(world.launcher.parent), "    main()\n", "    pass\n")


def torn_store(world: World) -> None:
    world.store.write_bytes(world.store.read_bytes()[:-9])


def directory_in_the_stores_place(world: World) -> None:
    world.store.unlink()
    world.store.mkdir(mode=0o700)


def fifo_in_the_stores_place(world: World) -> None:
    world.store.unlink()
    os.mkfifo(world.store, 0o600)


def link_to_itself_in_the_stores_place(world: World) -> None:
    world.store.unlink()
    world.store.symlink_to(world.store)


def damaged_store_without_backup(world: World) -> None:
    torn_store(world)
    backup(world).unlink(missing_ok=True)


def store_removed(world: World) -> None:
    world.store.unlink()


def id_that_is_no_uuid(world: World) -> None:
    edit(world.store, derived("r"), "x" * 36)
    edit(backup(world), derived("r"), "x" * 36)


def store_open_to_others(world: World) -> None:
    world.store.parent.chmod(0o755)
    world.store.chmod(0o644)


def backup(world: World) -> Path:
    return world.store.with_name("sessions.json.bak")


def conversation_that_could_not_be_recorded(world: World) -> None:
    reason = Failure("the disk is full")
    unrecorded.note(str(world.store.parent), "r", "claude", derived("another"), reason)


def damaged_backup(world: World) -> None:
    backup(world).write_text("{")


def backup_out_of_step(world: World) -> None:
    edit(world.store, '"r"', '"another room"')


def store_locked(world: Place) -> None:
    file = world.until_the_end.enter_context(world.store.open("r+"))
    world.until_the_end.enter_context(child(lambda: fcntl.flock(file, fcntl.LOCK_EX)))


def locked_and_torn(world: Place) -> None:
    torn_store(world)
    store_locked(world)


def lease_of_a_program_that_is_no_claude(world: Place) -> None:
    world.until_the_end.enter_context(live(world, "r"))


def claude_without_its_lease(world: Place) -> None:
    pid = world.until_the_end.enter_context(child(lambda: None))
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    registry = world.home / ".claude" / "sessions"
    registry.mkdir()
    entry = {"pid": pid, "sessionId": derived("r"), "procStart": started}
    (registry / f"{pid}.json").write_text(json.dumps(entry))


def idle_conversation_that_is_not_kept(world: World) -> None:
    world.transcript(derived("r"), age=25 * 86400)
    world.environment["NSED_KEEP_DAYS"] = "0"


def settings_that_are_no_json(world: World) -> None:
    (world.home / ".claude" / "settings.json").write_text('{"cleanupPeriodDays": 365,}')


def time_of_use_in_the_future(world: World) -> None:
    for path in (world.store, backup(world)):
        edit(path, f'"last_used": "{time.strftime("%Y")}', '"last_used": "2999')


def setting(name: str, value: str | None) -> Callable[[Place], None]:
    def set_variable(world: World) -> None:
        if value is None:
            del world.environment[name]
        else:
            world.environment[name] = value

    set_variable.__name__ = f"{name}={value}"
    return set_variable


def store_under_a_file(world: World) -> None:
    world.environment["NSED_SESSION_DIR"] = f"{world.claude.path}/store"


def opencode_without_plugin(world: World) -> None:
    opencode = write_program(world.root / "opencode" / "opencode", "#!/bin/sh\n")
    world.environment["PATH"] += f":{opencode.parent}"


def opencode_plugin_outdated(world: Place) -> None:
    assert claude_shim(world, "opencode", "install")[0] == 0
    path = world.home / ".config" / "opencode" / "plugin" / "claude-shim.js"
    path.write_text(path.read_text() + "// as another version writes it\n")


def working_directory_removed(world: Place) -> None:
    # A process is not started in a directory that is gone: the shell leaves it behind.
    program = write_program(
        world.root / "python", f'#!/bin/sh\nrmdir "$PWD"\nexec {sys.executable} "$@"\n'
    )
    world.python = program


def python_sdk(world: Place) -> None:
    packages = world.directory / ".venv" / "lib" / "python3.13" / "site-packages"
    write_program(packages / "claude_agent_sdk" / "_bundled" / "claude", "#!/bin/sh\n")


def node_sdk(world: Place) -> None:
    (world.root / "node_modules" / "@anthropic-ai" / "claude-agent-sdk").mkdir(parents=True)


INSTALL = "claude-shim install"
BROKEN: list[tuple[Callable[[Place], None], str, str, str]] = [
    # What is done to it, the check that says so, what it finds, how to fix it.
    (launcher_removed, "launcher", "there is none", INSTALL),
    (launcher_off_path, "path", "is not on PATH: claude is ", "`claude-shim init fish | source`"),
    (
        launcher_behind_another,
        "path",
        "other/claude is before the launcher",
        "claude-shim init bash",
    ),
    (python_removed, "launcher", "its Python is gone: /nowhere/python3", INSTALL),
    (package_removed, "launcher python hook", "its package is gone from /nowhere", INSTALL),
    (python_changed, "launcher", "changed since: each call starts Python twice", INSTALL),
    (
        python_of_an_environment,
        "python",
        "disappears with its environment",
        "install claude-shim with",
    ),
    (package_half_written, "python launcher", "cannot run the wrapper", INSTALL),
    (launcher_of_before, "launcher claude", "is of another version", INSTALL),
    (launcher_of_another_version, "launcher", "is outdated", INSTALL),
    (another_claude_shim, "launcher", "belongs to another claude-shim, in", INSTALL),
    (modules_outdated, "launcher", "calls are slower", INSTALL),
    (launcher_that_is_not_executable, "launcher path claude", "is no executable file", INSTALL),
    (foreign_claude_in_the_launchers_place, "launcher", "is not ours", "move it away"),
    (alias, "shell", "~/.zshrc:1 bypasses PATH", "remove that line"),
    (shell_function, "shell", "~/.bashrc:2 makes claude a function", "command claude"),
    (no_claude, "claude", "neither on PATH nor in the usual places", "npm install"),
    (claude_that_crashes, "claude", "exits with 3: out of memory", "npm install"),
    (claude_that_hangs, "claude", "says no version: it does not end within", "npm install"),
    (wrapper_that_comes_back, "claude", "does not reach it", "NSED_CLAUDE_BIN"),
    (claude_with_another_help, "options", "is not understood", "--help"),
    (shim_of_mise_without_a_version, "options", "with 1: no version)", "$(mise which claude)"),
    (claude_updated_unseen, "options", "leads to another claude now", "within a day"),
    (
        named_claude_missing,
        "environment",
        "NSED_CLAUDE_BIN=/nowhere/claude is not an executable file",
        "set it",
    ),
    (plugin_changed, "plugin", "hooks/hooks.json", INSTALL),
    (plugin_removed, "plugin hook", "ending/.claude-plugin/plugin.json", INSTALL),
    (hooks_switched_off, "hook", "claude runs no hooks", "disableAllHooks"),
    (hook_that_speaks, "hook plugin", "prints 'hi'", INSTALL),
    (hook_that_records_nothing, "hook plugin", "records nothing", INSTALL),
    (torn_store, "store", "is damaged: it is no JSON", "and the backup"),
    (directory_in_the_stores_place, "store", "it is no regular file", "move it away"),
    (fifo_in_the_stores_place, "store", "it is no regular file", "move it away"),
    (link_to_itself_in_the_stores_place, "store", "Too many levels", "move it away"),
    (damaged_store_without_backup, "store", "is damaged", "what can be read of it"),
    (store_removed, "store", "is gone, but its backup is there", "fills it"),
    (id_that_is_no_uuid, "store", "no UUID: 'xxx", "claude-shim forget"),
    (store_open_to_others, "privacy", ".nsed, sessions.json are open to others", "chmod -R go="),
    (damaged_backup, "backup", "it is no JSON", "rm "),
    (
        backup_out_of_step,
        "backup",
        "2 mappings only in sessions.json or only in the backup",
        "nothing",
    ),
    (
        conversation_that_could_not_be_recorded,
        "unrecorded",
        "of room 'r', agent 'claude' could not be recorded",
        "make a call of that room",
    ),
    (store_locked, "locks", "is locked by another process: python", "see what it does"),
    (locked_and_torn, "store locks", "it stays locked by another process: python", "end the"),
    (lease_of_a_program_that_is_no_claude, "claudes", "holds a lock, and is no claude", "kill "),
    (claude_without_its_lease, "claudes", "without its lock", "NSED_ROOM_ID=r claude"),
    (idle_conversation_that_is_not_kept, "clean-up", "1 within 7 days", "cleanupPeriodDays"),
    (settings_that_are_no_json, "clean-up", "settings.json is no JSON", "correct it"),
    (time_of_use_in_the_future, "clock", "1 mapping used in the future", "set the clock"),
    (setting("NSED_ON_BUSY", "sometimes"), "environment", "NSED_ON_BUSY=sometimes", "correct"),
    (setting("NSED_ROOM", "x"), "environment", "NSED_ROOM_ID?", "export NSED_ROOM_ID=x"),
    (setting("NSED_ROOMID", "x"), "environment", "NSED_ROOM_ID?", "export NSED_ROOM_ID=x"),
    (setting("NSED_AGENT", "b c"), "environment", "NSED_AGENT_NAME?", "NSED_AGENT_NAME='b c'"),
    (python_sdk, "sdks", "an SDK has a claude of its own", "cli_path: "),
    (node_sdk, "sdks", "an SDK has a claude of its own", "pathToClaudeCodeExecutable: "),
    (setting("NSED_BUSY_TIMEOUT", "1h"), "environment", "NSED_BUSY_TIMEOUT=1h", "correct"),
    (setting("NSED_KEEP_DAYS", "-1"), "environment", "NSED_KEEP_DAYS=-1", "correct"),
    (setting("NSED_SESSION_DIR", ".nsed"), "environment", "another directory", "a path from /"),
    (setting("NSED_SHIM_DISABLE", "1"), "environment", "claude is left alone", "unset"),
    (opencode_without_plugin, "opencode", "OpenCode has no plugin of ours", "opencode install"),
    (opencode_plugin_outdated, "opencode", "is outdated or edited", "opencode install"),
    (working_directory_removed, "environment", "the working directory is gone", "cd to"),
    (store_under_a_file, "store", "cannot be made", "set NSED_SESSION_DIR"),
]


@pytest.mark.parametrize(
    ("break_it", "checks", "found", "fix"), BROKEN, ids=lambda it: getattr(it, "__name__", "")
)
def test_the_fault_is_named(
    good: Place, break_it: Callable[[Place], None], checks: str, found: str, fix: str
) -> None:
    break_it(good)

    exit_code, findings = examined(good)

    faults = [finding for finding in findings if finding["status"] != "ok"]
    assert {fault["check"] for fault in faults} == set(checks.split())
    named = [fault for fault in faults if found in fault["found"]]
    assert [fault["check"] for fault in named] == [checks.split()[0]]
    assert fix in named[0]["mend"]
    assert exit_code == any(fault["status"] == "problem" for fault in faults)


@pytest.mark.parametrize(
    "break_it",
    [
        launcher_of_another_version,
        plugin_changed,
        plugin_removed,
        modules_outdated,
        torn_store,
        store_removed,
        store_open_to_others,
        damaged_backup,
        opencode_plugin_outdated,
    ],
)
def test_what_needs_no_decision_is_fixed(good: Place, break_it: Callable[[Place], None]) -> None:
    break_it(good)
    code, _, said = claude_shim(good, "doctor", "--fix", "--json")
    assert code == 0
    assert "Fixed: " in said
    assert all(found["status"] == "ok" for found in examined(good)[1])


def test_what_is_well_is_not_fixed(good: Place) -> None:
    before = snapshot(good.root)
    assert claude_shim(good, "doctor", "--fix")[2] == ""
    assert snapshot(good.root) == before

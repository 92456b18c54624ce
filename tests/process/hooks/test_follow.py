"""The hook in C: what it sees at a glance, and what it leaves to Python with the event whole."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.base import stamps
from shim.base.session_key import SessionKey, stored_key
from shim.install import manifest
from shim.store import document, layout, markers, plugin_links, unrecorded
from shim.store.store import Store
from tests.support.compiled import HOOK, SANITIZED, SANITIZERS, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

U, V = (f"00000000-0000-4000-8000-00000000000{n}" for n in range(2))
ROOM, AGENT = "réf room", "claude"
# Stands in for the hook in Python: says that it was asked, and what.
SCRIPT = "import sys; print('asked', len(sys.stdin.buffer.read()))"


@dataclass
class Hook:
    """The hook of a claude with a room, in a store of its own."""

    program: Path
    plugin: str
    store: Path

    def run(
        self,
        account: bytes,
        plugin: str | None = None,
        before: Callable[[], None] | None = None,
    ) -> str:
        """What it has printed: nothing, unless Python was asked. `before` runs in its process."""
        done = subprocess.run(
            [self.program],
            input=account,
            env={"CLAUDE_PLUGIN_ROOT": plugin or self.plugin, "PATH": os.defpath},
            capture_output=True,
            preexec_fn=before,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    @property
    def document(self) -> Path:
        return self.store / "sessions.json"


@pytest.fixture(scope="module", params=["as built", "sanitized"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hook") / "follow"
    if request.param == "as built":
        assert compiled(HOOK, path, "-O2"), "no C compiler"
    elif not any(compiled(HOOK, path, *SANITIZED, sanitizer) for sanitizer in SANITIZERS):
        pytest.skip("no compiler here has a sanitizer")
    script = path.with_suffix(".py")
    script.write_text(f"#!{sys.executable} -IS\n{SCRIPT}\n")
    script.chmod(0o755)
    return path


@pytest.fixture
def hook(tmp_path: Path, program: Path) -> Hook:
    return hook_of(tmp_path, program, ROOM, AGENT)


def hook_of(root: Path, program: Path, room: str, agent: str) -> Hook:
    variants = root / "variants"
    for variant in ("following", "interactive"):
        (variants / variant).mkdir(parents=True, exist_ok=True)
    (variants / "follow").touch(mode=0o755)
    store = root / "store"
    Store(str(store)).record(room, agent, U)
    key = SessionKey(room.encode("utf-8", "surrogateescape"), agent.encode())
    plugin = plugin_links.ensure(str(store), key, str(variants), "following")
    assert plugin
    return Hook(program, plugin, store)


def event(name: str, session_id: str, **more: str) -> bytes:
    account = {"session_id": session_id, "hook_event_name": name, **more}
    return json.dumps(account, separators=(",", ":"), ensure_ascii=False).encode()


PROMPT = event("UserPromptSubmit", U, prompt='say "session_id" in 日本')


@pytest.mark.parametrize(
    "account", [PROMPT, event("SessionEnd", U, reason="other"), event("Stop", U)]
)
def test_an_event_of_the_head_is_settled_at_a_glance(hook: Hook, account: bytes) -> None:
    assert hook.run(account) == ""


def test_it_counts_as_a_use(hook: Hook) -> None:
    before = time.time_ns()
    hook.run(PROMPT)
    [entry] = json.loads(hook.document.read_text())[ROOM].values()
    assert before <= (stamps.nanoseconds(entry["last_used"]) or 0) <= time.time_ns()


@pytest.mark.parametrize(
    "account",
    [
        event("UserPromptSubmit", V),
        PROMPT.replace(b'{"', b'{ "', 1),
        PROMPT[:-1] + b',"session_id":"' + V.encode() + b'"}',
        PROMPT[:-1] + b',"sess\\u0069on_id":"' + V.encode() + b'"}',
        b'{"prompt":"x","session_id":"' + U.encode() + b'"}',
        event("UserPromptSubmit", U, prompt="x" * (1 << 20)),
        b"",
        b"{",
        b"\xff\x00",
    ],
)
def test_what_it_does_not_see_at_a_glance_python_is_asked(hook: Hook, account: bytes) -> None:
    before = hook.document.read_bytes()
    assert hook.run(account) == f"asked {len(account)}\n"
    assert hook.document.read_bytes() == before


def test_python_is_asked_where_no_disk_has_space(hook: Hook) -> None:
    account = event("UserPromptSubmit", V, prompt="x" * 2_000_000)

    def no_file_may_grow() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    assert hook.run(account, before=no_file_may_grow) == f"asked {len(account)}\n"


def test_at_a_terminal_a_conversation_that_begins_or_ends_may_leave_the_head(hook: Hook) -> None:
    terminal = hook.plugin.replace("-following", "-interactive")
    assert hook.run(event("UserPromptSubmit", U), terminal) == ""
    for name in ("SessionStart", "SessionEnd"):
        assert hook.run(event(name, U), terminal).startswith("asked")


def test_a_plugin_without_a_key_is_python_s(hook: Hook, tmp_path: Path) -> None:
    for plugin in (str(tmp_path / "variants/following"), "following", "/", "/x" * 3000):
        assert hook.run(PROMPT, plugin).startswith("asked")


@pytest.mark.parametrize("content", [b"", b"no room", b"a\0b\0c", b"x" * 4000 + b"\0" + b"a"])
def test_a_key_that_is_none_is_python_s(hook: Hook, content: bytes) -> None:
    Path(hook.plugin).parent.joinpath("key").write_bytes(content)
    assert hook.run(PROMPT).startswith("asked")


def test_a_store_that_is_locked_is_python_s(hook: Hook) -> None:
    with hook.document.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert hook.run(PROMPT).startswith("asked")


def test_a_store_that_others_may_read_is_python_s_to_tighten(hook: Hook) -> None:
    hook.document.chmod(0o644)
    assert hook.run(PROMPT).startswith("asked")


@pytest.mark.parametrize(
    "edit",
    [
        (b"{\n  ", b"!\n  "),
        (b"}\n}", b"}\n"),
        (b"-4000-", b"-4001-"),
        (b'"uuid": ', b'"uuid":'),
        (b"Z", b"+00:00"),
        (b'"claude"', b'"cl\\u0061ude"'),
        (b"\n}", b',\n  "\xc3\xa9": {\n    "a": 5\n  },\n  "r\xc3\xa9f room": {}\n}'),
    ],
)
def test_a_store_in_another_layout_is_python_s(hook: Hook, edit: tuple[bytes, bytes]) -> None:
    hook.document.write_bytes(hook.document.read_bytes().replace(*edit))
    assert hook.run(PROMPT).startswith("asked")


names = st.text(st.sampled_from('ab"\\é\n:{}, '), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mappings=st.dictionaries(
        names, st.dictionaries(names, st.sampled_from([U, V]), max_size=3), max_size=4
    ),
    key=st.tuples(names, names),
    session_id=st.sampled_from([U, V]),
    cut=st.none() | st.tuples(st.integers(0, 900), st.integers(1, 30)),
)
def test_it_settles_nothing_that_python_would_not(
    tmp_path: Path,
    program: Path,
    mappings: dict[str, dict[str, str]],
    key: tuple[str, str],
    session_id: str,
    cut: tuple[int, int] | None,
) -> None:
    hook = hook_of(tmp_path, program, *key)
    mappings.setdefault(key[0], {})[key[1]] = session_id
    used = {"last_used": "2026-11-22T16:26:24.123456789Z"}
    data = document.dump(
        {
            room: {agent: {"uuid": own, **used} for agent, own in agents.items()}
            for room, agents in mappings.items()
        }
    )
    if cut:
        data = data[: cut[0]] + data[sum(cut) :]
    hook.document.write_bytes(data)
    if hook.run(PROMPT) == "":
        # Damage in another room is found by neither: a call reads its own room, at any size.
        assert head(hook.document, *key) == U
        if not cut:
            assert json.loads(data)[key[0]][key[1]]["uuid"] == U


# What Python cannot record, since it is gone


@pytest.fixture
def alone(hook: Hook, tmp_path: Path) -> Hook:
    """The hook of a claude whose Python is gone."""
    hook.program = Path(shutil.copy(hook.program, tmp_path / "follow"))
    return hook


MOVES = [
    event("UserPromptSubmit", V, prompt="hi"),
    event("SessionStart", V, source="clear"),
    event("SessionStart", V, source="resume"),
]


@pytest.mark.parametrize("account", MOVES)
def test_where_python_is_gone_the_conversation_is_noted_for_the_next_call(
    alone: Hook, account: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alone.run(account) == ""
    sessions = Store(str(alone.store))
    key, gone = str(stored_key(ROOM, AGENT)), "No such file or directory"
    assert unrecorded.pending(sessions.directory, sessions.mappings()) == [(key, gone)]
    assert sessions.recall(ROOM, AGENT) == V
    assert f"could not be recorded before ({gone}); it is now" in capsys.readouterr().err
    assert unrecorded.pending(sessions.directory, sessions.mappings()) == []
    assert sessions.get(ROOM, AGENT) == V


def test_python_that_cannot_import_the_package_has_the_conversation_noted(alone: Hook) -> None:
    script = alone.program.with_name("follow.py")
    script.write_text(manifest.hook_text(sys.executable, "shim.gone", is_recording=True))
    script.chmod(0o755)
    assert alone.run(MOVES[0]) == ""
    assert Store(str(alone.store)).recall(ROOM, AGENT) == V


@pytest.mark.parametrize(
    "account",
    [event("SessionEnd", V, reason="other"), event("SessionStart", V, source="startup"), b"{"],
)
def test_an_event_that_moves_nothing_is_not_noted(alone: Hook, account: bytes) -> None:
    alone.run(account)
    assert unrecorded.pending(str(alone.store), {}) == []


def test_a_fork_does_not_become_the_head(alone: Hook, capsys: pytest.CaptureFixture[str]) -> None:
    markers.write(str(alone.store), markers.FORKS, V, U)
    alone.run(MOVES[0])
    assert Store(str(alone.store)).recall(ROOM, AGENT) == U
    assert unrecorded.pending(str(alone.store), {}) == []
    assert capsys.readouterr().err == ""


def head(document: Path, room: str, agent: str) -> str | None:
    """The head as Python reads it. Raises NotCanonical where it would parse the document."""
    with document.open("rb") as file:
        entry = layout.find(file.fileno(), layout.quote(room), layout.quote(agent))
    return entry and entry.session_id


@pytest.mark.parametrize(
    "edit",
    [
        (b'"last_used": "2', b'"last_used": 2'),
        (b'"other"', b'"other'),
        (b'"other"', b'"oth\xc3r"'),
        (b'"other": {', b'"other": {}'),
        (b"    },\n    ", b"    }\n    "),
        (b'\n  },\n  "z', b'\n  }\n  "z'),
        (b',\n  "r\xc3\xa9f', b'\n  "r\xc3\xa9f'),
    ],
)
def test_a_room_that_is_damaged_is_python_s(hook: Hook, edit: tuple[bytes, bytes]) -> None:
    used = {"last_used": "2026-11-22T16:26:24.123456789Z"}
    agents = {name: {"uuid": U, **used} for name in ("other", AGENT)}
    data = document.dump({"a": agents, ROOM: agents, "z": agents})
    hook.document.write_bytes(data)
    assert hook.run(PROMPT) == ""
    at = data.index(b',\n  "' + ROOM.encode())
    hook.document.write_bytes(data[:at] + data[at:].replace(*edit, 1))
    assert hook.run(PROMPT).startswith("asked")

"""The hook's rules, and the conversations that a room and agent had before."""

import json
import os
import posix
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shim
from shim.base.session_key import SessionKey
from shim.hooks import head_hook, head_moves
from shim.store import history, markers, plugin_links
from shim.store.store import Store

CLAUDE_PLUGIN = Path(shim.__file__).parent / "install" / "claude_plugin"
U, V, W = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(3))

Job = Callable[..., None]


KEY = SessionKey(b"r", b"a")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The plugin, as it is beside a launcher."""
    copied = Path(shutil.copytree(CLAUDE_PLUGIN, tmp_path / "bin" / "plugin"))
    (copied / "follow").touch(mode=0o755)
    return copied


@pytest.fixture
def sessions(tmp_path: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store where the room's head is U, its claude having been started on U.

    The environment is that of another room, as a worker in the background may have it.
    """
    store = str(tmp_path / "store")
    link = plugin_links.ensure(store, KEY, str(plugin), "interactive")
    assert link
    monkeypatch.setenv("CLAUDE_PLUGIN_ROOT", link)
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("NSED_SESSION_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("NSED_ROOM_ID", "other")
    monkeypatch.setenv("NSED_AGENT_NAME", "other")
    monkeypatch.delenv("CLAUDE_JOB_DIR", raising=False)
    monkeypatch.setattr(head_moves, "_started_on", lambda: U)
    sessions = Store(store)
    sessions.record("r", "a", U)
    return sessions


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Makes a job in the background whose worker runs the hook, on conversation V."""

    def make(**state: object) -> None:
        directory = tmp_path / "claude" / "jobs" / V[:8]
        directory.mkdir(parents=True)
        flags = ["--plugin-dir", os.environ["CLAUDE_PLUGIN_ROOT"]]
        given = {
            "template": "bg",
            "state": "working",
            "sessionId": V,
            "respawnFlags": flags,
            **state,
        }
        (directory / "state.json").write_text(json.dumps(given))
        monkeypatch.setenv("CLAUDE_JOB_DIR", str(directory))

    return make


def event(name: str, session_id: object, **more: str) -> bytes:
    return json.dumps({"hook_event_name": name, "session_id": session_id, **more}).encode()


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (event("UserPromptSubmit", V), V),
        (event("UserPromptSubmit", U), U),
        (event("SessionEnd", V, reason="prompt_input_exit"), V),
        (event("SessionEnd", V, reason="other"), V),
        (event("SessionEnd", V, reason="clear"), U),
        (event("SessionEnd", U, reason="other"), U),
        (event("Stop", V), U),
        (event("SessionStart", V, source="resume"), V),
        (event("SessionStart", V, source="clear"), V),
        (event("SessionStart", V, source="fork"), V),
        (event("SessionStart", V, source="startup"), U),
        (event("SessionStart", V, source="compact"), U),
        (event("UserPromptSubmit", "not-a-uuid"), U),
        (event("UserPromptSubmit", "../" + V), U),
        (event("UserPromptSubmit", 5), U),
        (event("UserPromptSubmit", None), U),
        (b"[]", U),
        (b'"' + V.encode() + b'"', U),
    ],
)
def test_the_head_follows_turns_and_what_was_left_without_one(
    sessions: Store, data: bytes, head: str
) -> None:
    head_hook.follow(data)
    assert sessions.get("r", "a") == head


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", event("UserPromptSubmit", V)[:-1]])
def test_what_is_no_json_moves_nothing(sessions: Store, data: bytes) -> None:
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        head_hook.follow(data)
    assert sessions.get("r", "a") == U


def test_the_end_of_a_conversation_that_had_a_turn_moves_nothing(sessions: Store) -> None:
    head_hook.follow(event("UserPromptSubmit", V))
    head_hook.follow(event("UserPromptSubmit", W))
    head_hook.follow(event("SessionEnd", V, reason="other"))
    assert sessions.get("r", "a") == W


def test_the_end_of_a_claude_started_on_it_moves_nothing(
    sessions: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_moves, "_started_on", lambda: V)
    head_hook.follow(event("SessionEnd", V, reason="other"))
    assert sessions.get("r", "a") == U


def test_the_start_of_a_claude_that_was_started_on_a_fork_moves_nothing(
    sessions: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_moves, "_started_on", lambda: V)
    head_hook.follow(event("SessionStart", V, source="fork"))
    assert sessions.get("r", "a") == U


@pytest.mark.usefixtures("sessions")
def test_the_environment_names_nobodys_room(tmp_path: Path) -> None:
    head_hook.follow(event("UserPromptSubmit", V))
    assert not (tmp_path / "other").exists()


def test_of_a_link_that_does_not_say_whose_it_is_nothing_is_recorded(
    sessions: Store, tmp_path: Path
) -> None:
    (Path(os.environ["CLAUDE_PLUGIN_ROOT"]).parent / "key").unlink()
    with pytest.raises(FileNotFoundError):
        head_hook.follow(event("UserPromptSubmit", V))
    assert sessions.get("r", "a") == U
    assert not (tmp_path / "other").exists()


class TestTheHookOfAClaudeThatWasStartedByTheVersionBefore:
    def test_believes_the_environment(
        self, sessions: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLAUDE_PLUGIN_ROOT", str(tmp_path / "bin" / ".claude-shim-plugin"))
        head_hook.follow(event("UserPromptSubmit", V))
        assert Store(str(tmp_path / "other")).get("other", "other") == V
        assert sessions.get("r", "a") == U

    def test_records_nothing_without_a_room_and_an_agent(
        self, sessions: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CLAUDE_PLUGIN_ROOT")
        monkeypatch.delitem(posix.environ, b"NSED_ROOM_ID", raising=False)
        monkeypatch.delitem(posix.environ, b"NSED_AGENT_NAME", raising=False)
        head_hook.follow(event("UserPromptSubmit", V))
        assert not (tmp_path / "other").exists()


class TestInTheBackground:
    def test_a_turn_is_the_rooms(self, sessions: Store, job: Job) -> None:
        job()
        head_hook.follow(event("UserPromptSubmit", V))
        assert sessions.get("r", "a") == V

    @pytest.mark.parametrize(
        "state",
        [{"template": "claude"}, {"forkParentSessionId": U}, {"sessionId": None}],
        ids=["a task", "a copy", "a spare"],
    )
    @pytest.mark.parametrize(
        "data",
        [
            event("UserPromptSubmit", V),
            event("SessionStart", V, source="fork"),
            event("SessionEnd", V, reason="other"),
        ],
    )
    def test_what_is_no_continuation_moves_nothing(
        self, sessions: Store, job: Job, state: dict[str, object], data: bytes
    ) -> None:
        job(**state)
        head_hook.follow(data)
        assert sessions.get("r", "a") == U

    @pytest.mark.parametrize("named", [V, U], ids=["2.1.330", "2.1.197"])
    def test_its_start_makes_what_was_left_for_it_its_parent(
        self, sessions: Store, job: Job, tmp_path: Path, named: str
    ) -> None:
        job()
        registry = tmp_path / "claude" / "sessions"
        registry.mkdir()
        left = {"pid": 1, "sessionId": U, "parkedJobId": V[:8]}
        (registry / "1.json").write_text(json.dumps(left))
        source = "fork" if named == V else "resume"

        head_hook.follow(event("SessionStart", named, source=source))

        assert sessions.get("r", "a") == V
        assert markers.left_for(sessions.directory, V) == U

    def test_its_start_moves_nothing_where_another_is_the_head_by_now(
        self, sessions: Store, job: Job
    ) -> None:
        job()
        sessions.record("r", "a", W)
        head_hook.follow(event("SessionStart", U, source="resume"))
        assert sessions.get("r", "a") == W

    def test_a_terminal_that_ends_first_says_what_it_was_left_for(
        self, sessions: Store, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job()
        monkeypatch.delenv("CLAUDE_JOB_DIR")
        head_hook.follow(event("SessionEnd", U, reason="other"))
        assert sessions.get("r", "a") == V
        assert markers.left_for(sessions.directory, V) == U

    @pytest.mark.parametrize(("named", "source"), [(V, "fork"), (U, "resume")])
    def test_a_worker_that_starts_after_its_terminal_has_ended_moves_nothing(
        self, sessions: Store, job: Job, monkeypatch: pytest.MonkeyPatch, named: str, source: str
    ) -> None:
        job()
        worker = os.environ["CLAUDE_JOB_DIR"]
        monkeypatch.delenv("CLAUDE_JOB_DIR")
        head_hook.follow(event("SessionEnd", U, reason="other"))
        monkeypatch.setenv("CLAUDE_JOB_DIR", worker)
        head_hook.follow(event("SessionStart", named, source=source))
        assert sessions.get("r", "a") == V

    def test_a_terminal_that_ends_last_moves_nothing(
        self, sessions: Store, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job()
        head_hook.follow(event("SessionStart", U, source="resume"))
        head_hook.follow(event("SessionStart", W, source="clear"))
        monkeypatch.delenv("CLAUDE_JOB_DIR")
        head_hook.follow(event("SessionEnd", U, reason="other"))
        assert sessions.get("r", "a") == W

    def test_a_job_of_another_room_is_nothing_to_it(
        self, sessions: Store, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job(respawnFlags=["--plugin-dir", sessions.directory + "/plugins/of-another/interactive"])
        monkeypatch.delenv("CLAUDE_JOB_DIR")
        head_hook.follow(event("SessionEnd", U, reason="other"))
        assert sessions.get("r", "a") == U


def test_earlier_heads_are_kept_in_their_order(sessions: Store) -> None:
    for session_id in (V, W, U):
        sessions.record("r", "a", session_id)
    assert uuids(sessions) == [U, V, W]


def uuids(sessions: Store, agent: str = "a") -> list[str]:
    return [line["uuid"] for line in history.earlier(sessions.directory, "r", agent)]


def entry(number: int) -> dict[str, Any]:
    return {"uuid": f"id-{number}", "last_used": "2026-01-01T00:00:00Z"}


def test_all_are_kept_that_are_there_and_of_the_others_the_last_twenty(tmp_path: Path) -> None:
    history.remember(str(tmp_path), "other", "a", entry(0))
    for number in range(25):
        history.remember(str(tmp_path), "r", "a", entry(number))
    assert len(uuids(Store(str(tmp_path)))) == 25
    mapped = {"r": {"a": entry(99)}, "other": {"a": entry(99)}}
    history.forget(str(tmp_path), mapped, {"id-1"})
    assert uuids(Store(str(tmp_path))) == ["id-1", *(f"id-{number}" for number in range(5, 25))]
    assert len(history.earlier(str(tmp_path), "other", "a")) == 1
    assert os.stat(tmp_path / "history.jsonl").st_mode & 0o777 == 0o600


def test_a_conversation_left_again_has_one_line_of_when_it_was_left_last(tmp_path: Path) -> None:
    for time in ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z"):
        history.remember(str(tmp_path), "r", "a", {**entry(0), "last_used": time})
        history.remember(str(tmp_path), "other", "a", {**entry(0), "last_used": time})
    history.remember(str(tmp_path), "r", "a", {**entry(1), "last_used": "2026-01-03T00:00:00Z"})

    left = history.earlier(str(tmp_path), "r", "a")
    assert [(each["uuid"], each["last_used"][8:10]) for each in left] == [
        ("id-1", "03"),
        ("id-0", "04"),
    ]
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 3


def test_two_that_take_turns_leave_the_conversation_before_them_known(tmp_path: Path) -> None:
    history.remember(str(tmp_path), "r", "a", entry(0))
    for number in range(100):
        history.remember(str(tmp_path), "r", "a", entry(1 + number % 2))
    assert sorted(uuids(Store(str(tmp_path)))) == ["id-0", "id-1", "id-2"]


def test_of_a_history_with_repeats_the_last_of_each_counts(tmp_path: Path) -> None:
    days = [("id-0", "01"), ("id-1", "02"), ("id-0", "03"), ("id-1", "04")]
    lines = [
        {"room": "r", "agent": "a", "uuid": uuid, "last_used": f"2026-01-{day}T00:00:00Z"}
        for uuid, day in days
    ]
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    left = history.earlier(str(tmp_path), "r", "a")
    assert [each["last_used"][8:10] for each in left] == ["03", "04"]
    assert len(history.everything(str(tmp_path))) == 2


def test_a_line_that_was_never_finished_costs_only_itself(tmp_path: Path) -> None:
    history.remember(str(tmp_path), "r", "a", entry(0))
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text() + '{"room": "r", "agent": "a", "uu')
    history.remember(str(tmp_path), "r", "a", entry(1))
    assert uuids(Store(str(tmp_path))) == ["id-0", "id-1"]

"""`claude-shim link`, `forget`, `prune`, `import`, `export` and `which`, as a person runs them."""

import fcntl
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

import shim
from shim.retention import pins
from tests.support.children import child
from tests.support.claude_shim import (
    PROGRAM,
    ask,
    ask_process,
    exit_code,
    printed,
    refused,
    terminal,
)
from tests.support.recorder import World, derived
from tests.support.rooms import (
    THREE_DAYS,
    U,
    V,
    W,
    entry,
    files,
    history,
    live,
    register,
    somebody,
    store,
    transcript,
)

ODD = "-a\nb 🙂'"
ODD_WORDS = r"-- $'-a\x0ab \xf0\x9f\x99\x82\x27'"


class TestLink:
    def test_the_room_resumes_the_conversation(self, world: World) -> None:
        transcript(world, U)
        assert printed(world, "link", "refactor", "claude", U) == (
            f"Room 'refactor', agent 'claude' now resumes {U}\n"
            "  /home/ada/app, last written 3 days ago\n"
            "  it began with: Which word was it?\n"
            "Before, it had no conversation to resume. To go back:\n"
            "  claude-shim forget refactor claude\n"
        )
        assert world.mappings == {"refactor": {"claude": U}}
        call = world.call("-p", env={"NSED_ROOM_ID": "refactor"})
        assert call.args[0] == b"--resume"

    def test_the_former_conversation_is_named_and_can_be_linked_again(self, world: World) -> None:
        transcript(world, U)
        transcript(world, V)
        printed(world, "link", "r", "a", U)

        lines = printed(world, "link", "r", "a", V).splitlines()

        assert lines[-2:] == [
            f"Before, it was {U}. To go back:",
            f"  claude-shim link r a {U}",
        ]
        assert history(world) == [("r", "a", U)]
        printed(world, *lines[-1].split()[1:])
        assert world.mappings == {"r": {"a": U}}

    def test_the_conversation_a_name_derives_can_be_had_back(self, world: World) -> None:
        transcript(world, U)
        transcript(world, derived("r"))
        lines = printed(world, "link", "r", "claude", U).splitlines()
        assert lines[-1] == f"  claude-shim link r claude {derived('r')}"

    @pytest.mark.parametrize("how", ["6f2a", "6F2A0D3E-", U, U.upper(), "path"])
    def test_a_conversation_has_several_names(self, world: World, how: str) -> None:
        path = transcript(world, U)
        transcript(world, V)
        printed(world, "link", "r", "a", str(path) if how == "path" else how)
        assert world.mappings == {"r": {"a": U}}

    @pytest.mark.parametrize(("agents", "agent"), [(["x"], "x"), (["x", "y"], "claude")])
    def test_the_agent_is_the_only_one_else_claude(
        self, world: World, agents: list[str], agent: str
    ) -> None:
        transcript(world, U)
        store(world, {"r": {each: entry(V) for each in agents}})
        found = json.loads(printed(world, "link", "r", "6f2a", "--json"))
        assert (found["room"], found["agent"], found["session_id"]) == ("r", agent, U)
        assert found["transcript"].endswith(f"/{U}.jsonl")
        assert world.mappings["r"][agent] == U

    def test_a_link_to_what_is_there_already_changes_nothing(self, world: World) -> None:
        transcript(world, U)
        store(world, {"r": {"a": entry(U)}})
        before = files(world)
        assert printed(world, "link", "r", "a", U) == f"Room 'r', agent 'a' resumes {U} already.\n"
        assert files(world) == before

    def test_a_second_room_of_a_conversation_is_warned_about_the_first(self, world: World) -> None:
        transcript(world, U)
        store(world, {"r": {"a": entry(U)}, "s": {"a": entry(V)}})
        run = ask(world, "link", "s", "a", U)
        assert run.exit_code == 0
        assert run.warning == ("claude-shim: room 'r', agent 'a' has this conversation, too")

    def test_names_of_any_kind_come_back_as_words_for_a_shell(self, world: World) -> None:
        transcript(world, U)
        transcript(world, V)
        printed(world, "link", "--", ODD, "claude", U)
        lines = printed(world, "link", "--", ODD, "claude", V).splitlines()
        assert lines[0] == f"Room {ODD!r}, agent 'claude' now resumes {V}"
        assert lines[-1] == f"  claude-shim link {ODD_WORDS} claude {U}"
        shell = f"claude-shim() {{ printf '%s|' \"$@\"; }}; {lines[-1]}"
        read = world.run("-c", shell, program=Path("/bin/bash"), env={"LC_ALL": "C.UTF-8"})
        assert read.stdout.decode() == f"link|--|{ODD}|claude|{U}|"
        assert world.mappings == {ODD: {"claude": V}}


class TestLinkToWhatCannotBe:
    @pytest.fixture(autouse=True)
    def conversations(self, world: World) -> None:
        transcript(world, V)
        transcript(world, W.replace("7fff", "7f2a"))
        world.transcript(U, messages=False)

    def projects(self, world: World) -> str:
        return str(world.home / ".claude" / "projects")

    def test_the_beginning_of_several(self, world: World) -> None:
        assert refused(world, "link", "r", "a", "7f2a") == (
            f"several ids begin with 7f2a: {V}, {W.replace('7fff', '7f2a')}"
        )

    def test_an_id_that_no_conversation_has(self, world: World) -> None:
        assert refused(world, "link", "r", "a", "8f2a") == (
            f"no conversation in {self.projects(world)} has an id that begins with 8f2a"
        )

    @pytest.mark.parametrize("word", ["walnut", "", "7f2", "7f2a 0d3e", "7f2a*"])
    def test_what_is_no_id(self, world: World, word: str) -> None:
        assert refused(world, "link", "r", "a", word) == (
            f"{word!r} is no session id, no beginning of one (4 characters or more), and no"
            " path of a transcript"
        )

    def test_a_conversation_without_a_message(self, world: World) -> None:
        assert refused(world, "link", "r", "a", U).endswith(
            f"/{U}.jsonl holds no message: claude cannot resume it"
        )

    def test_a_path_that_is_not_there(self, world: World) -> None:
        assert refused(world, "link", "r", "a", "/no/x.jsonl") == "there is no file /no/x.jsonl"

    def test_a_path_of_something_else(self, world: World) -> None:
        assert refused(world, "link", "r", "a", "/etc/passwd") == (
            "/etc/passwd is no transcript: claude names them UUID.jsonl"
        )

    def test_a_path_where_claude_does_not_look(self, world: World) -> None:
        elsewhere = world.root / f"{V}.jsonl"
        elsewhere.write_text("")
        assert refused(world, "link", "r", "a", str(elsewhere)) == (
            f"{elsewhere} is outside {self.projects(world)}: copy it into a project there,"
            " where claude looks"
        )

    def test_nothing_is_recorded(self, world: World) -> None:
        refused(world, "link", "r", "a", U)
        assert not world.store.parent.exists()


class TestForget:
    def test_the_next_call_starts_a_new_conversation(self, world: World) -> None:
        store(world, {"refactor": {"claude": entry(U)}})
        transcript(world, U)

        assert printed(world, "forget", "refactor", "claude") == (
            "Forgot room 'refactor', agent 'claude': its next call starts a new conversation.\n"
            f"  to go back: claude-shim link refactor claude {U}\n"
        )

        assert world.mappings == {}
        assert history(world) == [("refactor", "claude", U)]
        call = world.call("-p", env={"NSED_ROOM_ID": "refactor"})
        assert call.args == [b"--session-id", derived("refactor").encode(), b"-p"]

    @pytest.mark.parametrize("mapped", [True, False])
    def test_the_conversation_that_the_name_derives_is_not_gone_back_to(
        self, world: World, mapped: bool
    ) -> None:
        old = derived("r")
        store(world, {"r": {"claude": entry(old)}} if mapped else {})
        transcript(world, old, str(world.directory))

        assert f"claude-shim link r claude {old}\n" in printed(world, "forget", "r")

        first = world.call("-p", env={"NSED_ROOM_ID": "r"})
        new = first.args[1].decode()
        assert first.args == [b"--session-id", new.encode(), b"-p"]
        assert uuid.UUID(new).version == 4
        world.transcript(new)
        second = world.call("-p", env={"NSED_ROOM_ID": "r"})
        assert second.args == [b"--resume", new.encode(), b"-p"]

    def test_the_way_back_leads_back(self, world: World) -> None:
        old = derived("r")
        store(world, {"r": {"claude": entry(old)}})
        transcript(world, old)
        line = printed(world, "forget", "r").splitlines()[-1]
        printed(world, *line.split("claude-shim ")[1].split())
        assert world.mappings == {"r": {"claude": old}}

    def test_without_an_agent_all_of_the_room_are_forgotten(self, world: World) -> None:
        store(world, {"r": {"a": entry(U), "b": entry(V)}, "s": {"a": entry(U)}})
        transcript(world, V)
        assert printed(world, "forget", "r") == (
            "Forgot room 'r', agent 'a': its next call starts a new conversation.\n"
            "Forgot room 'r', agent 'b': its next call starts a new conversation.\n"
            f"  to go back: claude-shim link r b {V}\n"
        )
        assert world.mappings == {"s": {"a": U}}

    def test_an_agent_leaves_the_others_of_its_room(self, world: World) -> None:
        store(world, {"r": {"a": entry(U), "b": entry(V)}})
        printed(world, "forget", "r", "a")
        assert world.mappings == {"r": {"b": V}}

    def test_names_of_any_kind_can_be_forgotten(self, world: World) -> None:
        store(world, {ODD: {"🙂\n": entry(U)}, "": {"": entry(V)}})
        assert ascii(printed(world, "forget", "--", ODD)).count("\\n") == 1 + 2
        printed(world, "forget", "", "")
        assert world.mappings == {}

    @pytest.mark.parametrize(
        ("args", "line"),
        [
            (["refactr"], "room 'refactr' has no conversation to forget: did you mean 'refactor'?"),
            (
                ["refactor", "claud"],
                "room 'refactor', agent 'claud' has no conversation to forget:"
                " did you mean 'claude'?",
            ),
            (["x", "claude"], "room 'x', agent 'claude' has no conversation to forget"),
        ],
    )
    def test_a_name_that_does_not_exist_is_reported(
        self, world: World, args: list[str], line: str
    ) -> None:
        store(world, {"refactor": {"claude": entry(U)}})
        before = files(world)
        assert refused(world, "forget", *args) == line
        assert files(world) == before

    def test_what_is_forgotten_already_stays_so(self, world: World) -> None:
        transcript(world, derived("r"))
        printed(world, "forget", "r")
        before = files(world)
        assert refused(world, "forget", "r") == (
            "room 'r' is forgotten already: the next call starts a new conversation"
        )
        assert files(world) == before


class TestKeptConversations:
    """Those whose transcript has a second name beside the store."""

    def keep(self, world: World, session_id: str, is_cleaned_up: bool = False) -> Path:
        path = transcript(world, session_id, age=90 * 86400)
        store(world, {"r": {"claude": entry(session_id)}})
        kept = world.store.parent / "kept" / path.name
        kept.parent.mkdir()
        kept.hardlink_to(path)
        kept.with_suffix(".from").symlink_to(path)
        kept.with_suffix(".link").symlink_to(pins.identity(str(kept)))
        if is_cleaned_up:
            path.unlink()
        return kept

    def test_what_is_forgotten_is_kept_no_longer(self, world: World) -> None:
        kept = self.keep(world, U)
        printed(world, "forget", "r")
        assert not kept.exists()
        assert world.call("-p", env={"NSED_ROOM_ID": "r"}).args[0] == b"--session-id"

    def test_what_another_room_resumes_stays_retained(self, world: World) -> None:
        kept = self.keep(world, U)
        store(world, {"r": {"claude": entry(U)}, "s": {"claude": entry(U)}})
        printed(world, "forget", "r")
        assert kept.exists()

    def test_the_only_copy_stays_and_is_not_gone_back_to_until_linked(self, world: World) -> None:
        old = derived("r")
        kept = self.keep(world, old, is_cleaned_up=True)
        way_back = printed(world, "forget", "r").splitlines()[-1]
        assert kept.exists()
        fresh = world.call("-p", env={"NSED_ROOM_ID": "r"})
        assert fresh.args[0] == b"--session-id"
        assert fresh.args[1] != old.encode()

        printed(world, *way_back.split("claude-shim ")[1].split())

        back = world.call("-p", env={"NSED_ROOM_ID": "r"})
        assert back.args[0] == b"--resume"
        assert old.encode() in back.args[1]

    def test_one_that_a_person_deleted_cannot_be_linked(self, world: World) -> None:
        kept = self.keep(world, U)
        (path,) = (world.home / ".claude" / "projects").glob("*/*.jsonl")
        os.utime(path)
        path.unlink()
        line = refused(world, "link", "s", "claude", U)
        assert line == f"conversation {U} is gone: its transcript was deleted"
        assert not kept.exists()


class TestBesideLiveClaudes:
    @pytest.fixture(autouse=True)
    def conversations(self, world: World) -> None:
        transcript(world, U)
        transcript(world, V)
        store(world, {"r": {"claude": entry(U)}, "s": {"claude": entry(U)}})

    @pytest.mark.parametrize(
        "command", [["forget", "r"], ["link", "r", "claude", V]], ids=["forget", "link"]
    )
    def test_without_a_terminal_a_live_claude_is_not_disturbed(
        self, world: World, command: list[str]
    ) -> None:
        with live(world, "r") as pid:
            line = refused(world, *command, exit_code=75)
        assert line == (
            f"claude {pid} (interactive) is live on room 'r', agent 'claude':"
            " end it first, or pass --yes"
        )
        assert world.mappings == {"r": {"claude": U}, "s": {"claude": U}}

    @pytest.mark.parametrize(
        "command", [["forget", "r"], ["link", "r", "claude", V]], ids=["forget", "link"]
    )
    def test_with_yes_it_is_done_and_what_follows_is_printed(
        self, world: World, command: list[str]
    ) -> None:
        with live(world, "r") as pid:
            run = ask(world, *command, "--yes")
        assert (run.exit_code, run.warning) == (
            0,
            f"claude-shim: claude {pid} (interactive) is live on room 'r', agent 'claude':"
            " its further turns are not in this room",
        )
        assert world.mappings["r"]["claude"] != U

    def test_what_a_claude_that_has_just_started_will_write_is_not_gone_back_to(
        self, world: World
    ) -> None:
        store(world, {"r": {"claude": entry(derived("r"))}})
        with live(world, "r"):
            ask(world, "forget", "r", "--yes")
        world.transcript(derived("r"))
        call = world.call("-p", env={"NSED_ROOM_ID": "r"})
        assert call.args[0] == b"--session-id"

    def test_a_claude_of_another_room_is_no_matter(self, world: World) -> None:
        with live(world, "s"):
            printed(world, "forget", "r")

    @pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1)])
    def test_on_a_terminal_a_person_is_asked(self, world: World, answer: str, code: int) -> None:
        with live(world, "r") as pid, terminal(world, "forget", "r") as child:
            child.expect_exact(f"claude {pid} (interactive) is live on room 'r', agent 'claude'")
            child.expect_exact("Forget it all the same? [y/N]: ")
            child.sendline(answer)
            child.expect_exact("Forgot room 'r'" if answer == "y" else "nothing was changed")
            assert exit_code(child) == code
        assert (world.mappings["r"]["claude"] == U) == (answer == "n")

    @pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
    def test_who_does_not_answer_has_changed_nothing(self, world: World, key: str) -> None:
        with live(world, "r"), terminal(world, "forget", "r") as child:
            child.expect_exact("Forget it all the same? [y/N]: ")
            child.send(key)
            child.expect_exact("\r\nclaude-shim: nothing was changed\r\n")
            assert exit_code(child) == 130
        assert world.mappings["r"]["claude"] == U

    def test_a_live_claude_on_the_conversation_to_link_is_asked_about(self, world: World) -> None:
        pid = register(world, V)
        line = refused(world, "link", "r", "claude", V, exit_code=75)
        assert f"claude {pid} (" in line
        assert f"is live on conversation {V}: " in line


OLD = {
    "r": {"a": entry(U, "2026-01-02T03:04:05Z"), "b": entry(V, "2025-01-02T03:04:05Z")},
    ODD: {"claude": entry(W, "2026-01-03T03:04:05Z")},
    "new": {"claude": entry(U, "2999-01-02T03:04:05Z")},
}


def without_ages(text: str) -> str:
    return re.sub(r"\d+ (days|months|years) ago", "… ago", text)


class TestPrune:
    def test_a_dry_run_shows_what_would_go(self, world: World) -> None:
        store(world, OLD)
        before = files(world)
        assert without_ages(printed(world, "prune", "--older-than", "30d", "-n")) == (
            "ROOM\tAGENT\tID\tLAST USED\n"
            f"r\tb\t{V}\t… ago\n"
            f"r\ta\t{U}\t… ago\n"
            f"-a\\nb 🙂'\tclaude\t{W}\t… ago\n"
            "Would remove 3 mappings.\n"
        )
        assert files(world) == before

    def test_with_yes_it_goes(self, world: World) -> None:
        store(world, OLD)
        lines = printed(world, "prune", "--yes").splitlines()
        assert (len(lines), lines[-1]) == (1 + 3 + 1, "Removed 3 mappings.")
        assert world.mappings == {"new": {"claude": U}}

    def test_without_a_terminal_and_yes_nothing_goes(self, world: World) -> None:
        store(world, OLD)
        line = refused(world, "prune")
        assert line == "there is no terminal to ask on: pass --yes"
        assert len(world.mappings) == 3

    @pytest.mark.parametrize(("answer", "left"), [("y", 1), ("n", 3)])
    def test_on_a_terminal_a_person_is_asked(self, world: World, answer: str, left: int) -> None:
        store(world, OLD)
        with terminal(world, "prune", "--older-than", "2 weeks") as child:
            child.expect_exact("Remove 3 mappings? [y/N]: ")
            child.sendline(answer)
            assert exit_code(child) == (answer == "n")
        assert len(world.mappings) == left

    @pytest.mark.parametrize("who", ["holder", "unmanaged"])
    def test_what_a_claude_is_live_on_stays(self, world: World, who: str) -> None:
        store(world, OLD)
        with somebody(world, who, "r", "a", U):
            assert printed(world, "prune", "-y").endswith("Removed 2 mappings.\n")
        assert world.mappings == {"r": {"a": U}, "new": {"claude": U}}

    def test_a_forgotten_conversation_does_not_come_back(self, world: World) -> None:
        transcript(world, derived("r"))
        store(world, {"r": {"claude": entry(derived("r"))}})
        printed(world, "forget", "r")
        fresh = world.mappings["r"]["claude"]
        pruned = printed(world, "prune", "--older-than", "0s", "-y")
        assert pruned == "Nothing has been unused for 0s.\n"
        assert world.mappings == {"r": {"claude": fresh}}

    def test_what_goes_is_listed_and_noted_so_that_it_can_be_linked(self, world: World) -> None:
        transcript(world, U)
        store(world, OLD)
        lines = printed(world, "prune", "-y").splitlines()
        assert lines[4:] == [
            "Removed 3 mappings.",
            f"  to go back: claude-shim link r a {U}",
        ]
        assert sorted(history(world)) == [(ODD, "claude", W), ("r", "a", U), ("r", "b", V)]

    def test_it_goes_whoever_reads_what_is_said_of_it(self, world: World) -> None:
        store(world, OLD)
        world.environment["PYTHONPATH"] = str(Path(shim.__file__).parent.parent)
        nobody, end = os.pipe()
        os.close(nobody)
        with os.fdopen(end, "wb") as out:
            subprocess.run(
                [sys.executable, "-c", PROGRAM, "prune", "-y"], env=world.environment, stdout=out
            )
        assert world.mappings == {"new": {"claude": U}}

    def test_where_there_is_nothing_old_nothing_happens(self, world: World) -> None:
        assert printed(world, "prune") == "Nothing has been unused for 30d.\n"
        assert not world.store.parent.exists()

    @pytest.mark.parametrize("dry_run", [["--dry-run"], []])
    def test_what_it_prints_as_json_can_be_imported(self, world: World, dry_run: list[str]) -> None:
        store(world, OLD)
        removed = printed(world, "prune", "--json", "--yes", *dry_run)
        records = json.loads(removed)["mappings"]
        assert [(r["room"], r["agent"], r["session_id"]) for r in records] == [
            ("r", "b", V),
            ("r", "a", U),
            (ODD, "claude", W),
        ]
        (world.directory / "removed.json").write_text(removed)
        printed(world, "import", "removed.json")
        assert json.loads(world.store.read_text()) == OLD

    def test_an_age_that_is_none_is_a_wrong_use(self, world: World) -> None:
        line = refused(world, "prune", "--older-than", "soon", exit_code=2)
        assert "'soon' is no length of time, such as 30d, 12h or '2 weeks'." in line


EXPORTED = f"""\
{{
  "format": "claude-shim mappings",
  "version": 1,
  "mappings": [
    {{"room": "-a\\nb 🙂'", "agent": "claude", "session_id": "{W}", \
"last_used": "2026-01-03T03:04:05Z"}},
    {{"room": "r", "agent": "a", "session_id": "{U}", "last_used": "2026-01-02T03:04:05Z"}},
    {{"room": "r", "agent": "b", "session_id": "{V}", "last_used": "2025-01-02T03:04:05Z"}}
  ],
  "earlier": [
    {{"room": "r", "agent": "a", "session_id": "{W}", "last_used": "2025-12-31T03:04:05Z"}}
  ]
}}
"""
EXPORTED_STORE = {
    "r": {"b": entry(V, "2025-01-02T03:04:05Z"), "a": entry(U, "2026-01-02T03:04:05Z")},
    ODD: {"claude": entry(W, "2026-01-03T03:04:05Z")},
}
EARLIER = {"room": "r", "agent": "a", **entry(W, "2025-12-31T03:04:05Z")}


@pytest.fixture
def exported(world: World) -> Path:
    path = world.directory / "mappings.json"
    path.write_text(EXPORTED)
    return path


class TestExport:
    @pytest.fixture(autouse=True)
    def mappings(self, world: World) -> None:
        store(world, EXPORTED_STORE)
        (world.store.parent / "history.jsonl").write_text(json.dumps(EARLIER) + "\n")

    def test_it_is_the_same_text_for_the_same_mappings(self, world: World) -> None:
        assert printed(world, "export") == EXPORTED
        store(world, dict(reversed(EXPORTED_STORE.items())))
        assert printed(world, "export", env={"LC_ALL": "C"}) == EXPORTED

    def test_a_file_is_this_users_alone(self, world: World) -> None:
        path = world.directory / "mappings.json"
        path.write_text("an older one")
        run = ask(world, "export", "mappings.json")
        assert run.lines == [
            "Wrote 3 mappings to mappings.json",
            "Conversations are not in it: --with-conversations adds them.",
        ]
        assert (run.exit_code, run.stdout, path.read_text()) == (0, b"", EXPORTED)
        assert path.stat().st_mode & 0o777 == 0o600
        assert [*world.directory.iterdir()] == [path]

    def test_another_machine_has_the_same_after_the_import(self, world: World) -> None:
        text = printed(world, "export")
        other = {"NSED_SESSION_DIR": str(world.root / "other")}
        assert "3 added" in printed(world, "import", "-", input=text.encode(), env=other)
        assert printed(world, "export", env=other) == EXPORTED

    def test_an_entry_that_is_no_uuid_is_left_out(self, world: World) -> None:
        store(world, {**EXPORTED_STORE, "bad": {"a": entry("../x")}})
        run = ask(world, "export")
        assert run.stdout.decode() == EXPORTED
        assert run.warning == (
            "claude-shim: room 'bad', agent 'a' is left out: its stored id '../x' is no UUID"
        )

    def test_half_a_character_is_written_as_json_can(self, world: World) -> None:
        store(world, {"r": {"\\ud800": entry(U)}})
        world.store.write_text(world.store.read_text().replace("\\\\ud800", "\\ud800"))
        assert '"agent": "\\ud800"' in printed(world, "export")

    def test_no_name_reaches_a_terminal_with_what_does_not_show(self, world: World) -> None:
        name = "a\u202egpj.exe\x9b2J\x7f"
        store(world, {name: {"claude": entry(U)}})
        for words in (("export",), ("list", "--json"), ("show", name, "--json")):
            text = printed(world, *words)
            assert r"a\u202egpj.exe\u009b2J\u007f" in text
            assert text.replace("\n", "").isprintable()
        found = json.loads(printed(world, "export"))
        assert [each["room"] for each in found["mappings"]] == [name]

    @pytest.mark.parametrize(
        ("file", "line"),
        [
            ("{store}", "{store} is in the store's own directory: choose another"),
            ("fifo", "fifo is no regular file: leave it out to write to stdout"),
            ("no/such/f.json", "no/such/f.json: No such file or directory"),
        ],
    )
    def test_a_place_that_would_do_harm_is_refused(
        self, world: World, file: str, line: str
    ) -> None:
        before = files(world)
        os.mkfifo(world.directory / "fifo")
        path = file.format(store=world.store)
        assert refused(world, "export", path) == line.format(store=world.store)
        assert files(world) == before
        assert (world.directory / "fifo").is_fifo()


class TestImportOfAFile:
    def test_into_an_empty_home(self, world: World, exported: Path) -> None:
        transcript(world, W)
        assert printed(world, "import", "mappings.json") == (
            "ROOM\tAGENT\tID\tCHANGE\tWHY\n"
            f"-a\\nb 🙂'\tclaude\t{W}\tadded\t\n"
            f"r\ta\t{U}\tadded\tno transcript here\n"
            f"r\tb\t{V}\tadded\tno transcript here\n"
            "3 added.\n"
            "2 of them have no transcript on this machine: their next call starts a new"
            " conversation, unless you copy ~/.claude/projects over first.\n"
        )
        assert json.loads(world.store.read_text()) == EXPORTED_STORE
        assert history(world) == [("r", "a", W)]

    def test_of_two_mappings_the_one_used_last_is_taken_and_the_other_kept(
        self, world: World, exported: Path
    ) -> None:
        for session_id in (U, V, W):
            transcript(world, session_id)
        store(
            world,
            {
                "r": {
                    "a": entry(V, "2025-06-01T00:00:00Z"),
                    "b": entry(W, "2026-06-01T00:00:00Z"),
                },
                ODD: {"claude": entry(W, "2026-01-01T00:00:00Z")},
            },
        )
        assert printed(world, "import", "mappings.json") == (
            "ROOM\tAGENT\tID\tCHANGE\tWHY\n"
            f"r\ta\t{U}\treplaced\tit was {V}\n"
            f"r\tb\t{V}\tkept\tused later here\n"
            "1 replaced, 1 kept, 1 renewed.\n"
        )
        assert world.mappings == {"r": {"a": U, "b": W}, ODD: {"claude": W}}
        assert "2026-01-03T03:04:05Z" in world.store.read_text()
        assert sorted(history(world)) == [("r", "a", V), ("r", "a", W), ("r", "b", V)]

    def test_a_time_that_is_still_to_come_takes_over_nothing(self, world: World) -> None:
        in_use = entry(U, iso(time.time() - 5) + "Z")
        store(world, {"r": {"a": in_use}})
        to_come = EXPORTED.replace("2026-01-02T", "9999-12-31T").replace("2025-12-31", "9998-12-31")
        path = world.directory / "mappings.json"
        path.write_text(to_come.replace(U, V))
        said = printed(world, "import", "mappings.json")
        assert f"r\ta\t{V}\tkept\tits time is in the future\n" in said
        assert world.mappings["r"]["a"] == U

    @pytest.mark.parametrize(
        "content", [b"[" + b"[]," * 3_000_000 + b"[]]", b" " * ((1 << 26) + 1)]
    )
    def test_what_would_take_gigabytes_to_parse_is_refused_at_once(
        self, world: World, content: bytes
    ) -> None:
        (world.directory / "f").write_bytes(content)
        assert refused(world, "import", "f") == "f has more mappings than claude-shim reads at once"

    def test_a_device_without_an_end_is_refused(self, world: World) -> None:
        said = refused(world, "import", "/dev/zero")
        assert said == "/dev/zero has more mappings than claude-shim reads at once"

    def test_a_second_time_nothing_changes(self, world: World, exported: Path) -> None:
        printed(world, "import", "mappings.json")
        before = files(world)
        assert printed(world, "import", "mappings.json") == "3 unchanged.\n"
        assert files(world) == before

    def test_a_dry_run_shows_it_and_changes_nothing(self, world: World, exported: Path) -> None:
        dry = printed(world, "import", "mappings.json", "--dry-run")
        assert not world.store.parent.exists()
        assert dry.replace(" (dry run)", "") == printed(world, "import", "mappings.json")

    def test_another_sessions_json_is_read_too(self, world: World) -> None:
        other = world.root / "sessions.json"
        other.write_text(json.dumps(OLD))
        printed(world, "import", str(other))
        assert json.loads(world.store.read_text()) == OLD

    @pytest.mark.parametrize("who", ["holder", "unmanaged"])
    def test_what_a_claude_is_live_on_is_left_alone(
        self, world: World, exported: Path, who: str
    ) -> None:
        store(world, {"r": {"a": entry(V, "2025-06-01T00:00:00Z")}})
        with somebody(world, who, "r", "a", V) as pid:
            run = ask(world, "import", "mappings.json")
        assert (run.exit_code, run.stderr) == (75, b"")
        row = f"r\ta\t{U}\tlive\tclaude {pid} is live on it\n"
        assert row in run.stdout.decode()
        assert world.mappings["r"] == {"a": V, "b": V}

    def test_as_json(self, world: World, exported: Path) -> None:
        store(world, {"r": {"a": entry(V, "2025-06-01T00:00:00Z")}})
        shown = json.loads(printed(world, "import", "mappings.json", "--json", "-n"))
        assert shown["dry_run"] is True
        assert [*shown["mappings"][1].items()] == [
            ("room", "r"),
            ("agent", "a"),
            ("session_id", U),
            ("last_used", "2026-01-02T03:04:05Z"),
            ("action", "replaced"),
            ("before", V),
            ("has_transcript", False),
            ("note", None),
        ]

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("{ not", "f is no JSON: see character 2"),
            ("[]", "f is neither an export nor a sessions.json: its top level is no object"),
            ('{"r": {"a": {}}}', "… room 'r', agent 'a' has no uuid"),
            (json.dumps({"r": {"a": entry("x")}}), "f: room 'r', agent 'a': 'x' is no UUID"),
            (
                json.dumps({"r": {"a": entry(U, "?")}}),
                "… room 'r', agent 'a' has no time of last use",
            ),
            (EXPORTED.replace(V, "../x"), "f: room 'r', agent 'b': '../x' is no UUID"),
            (EXPORTED.replace('mappings",', 'x",'), "… its format is 'claude-shim x'"),
            (
                EXPORTED.replace('"version": 1', '"version": 2'),
                "… its version is 2, and this claude-shim reads 1",
            ),
            (EXPORTED.replace('"agent": "b", ', ""), "… mappings[2] has no agent"),
            (
                EXPORTED.replace("2025-12-31T", ""),
                "… earlier[0] has no time of last use: '03:04:05Z'",
            ),
            (
                '{"format": "claude-shim mappings", "version": 1, "mappings": 5}',
                "… 'mappings' is no list",
            ),
            (
                '{"format": "claude-shim mappings", "version": 1, "mappings": [5]}',
                "… mappings[0] is no object",
            ),
            ("[" * 100_000, "f is no JSON: see character 0"),
        ],
    )
    def test_a_bad_file_is_one_line_and_changes_nothing(
        self, world: World, content: str, line: str
    ) -> None:
        (world.directory / "f").write_text(content)
        expected = line.replace("…", "f is neither an export nor a sessions.json:")
        assert refused(world, "import", "f") == expected
        assert not world.store.parent.exists()

    @pytest.mark.parametrize(
        ("args", "line"),
        [
            ([], "Give one of FILE, --from-projects and --project."),
            (["f", "--from-projects"], "Give one of FILE, --from-projects and --project."),
            (["f", "--room", "r"], "--room needs --project."),
            (
                ["f", "--replace"],
                "--replace is for projects; of a FILE's mappings the newer wins.",
            ),
        ],
    )
    def test_what_does_not_go_together_is_a_wrong_use(
        self, world: World, args: list[str], line: str
    ) -> None:
        assert refused(world, "import", *args, exit_code=2) == (
            f"{line} `claude-shim import --help` helps."
        )

    def test_a_file_that_is_not_there(self, world: World) -> None:
        assert refused(world, "import", "f") == "f: No such file or directory"


class TestImportOfProjects:
    def test_every_project_gets_a_room_of_its_own_name(self, world: World) -> None:
        transcript(world, U, "/home/ada/app")
        transcript(world, V, "/srv/app")
        transcript(world, W, "/home/ada/web")
        world.transcript(str(uuid.uuid4()), Path("/empty"), messages=False)
        assert printed(world, "import", "--from-projects") == (
            "ROOM\tAGENT\tID\tCHANGE\tWHY\n"
            f"ada/app\tclaude\t{U}\tadded\t\n"
            f"srv/app\tclaude\t{V}\tadded\t\n"
            f"web\tclaude\t{W}\tadded\t\n"
            "3 added.\n"
        )
        call = world.call("-p", env={"NSED_ROOM_ID": "web"})
        assert W.encode() in call.args[1]

    def test_the_room_resumes_the_most_recent_conversation(self, world: World) -> None:
        written = transcript(world, U).stat().st_mtime
        transcript(world, V, age=THREE_DAYS * 2)
        world.transcript(W, Path("/home/ada/app"), messages=False)  # now, but not to be resumed
        printed(world, "import", "--from-projects")
        assert world.mappings == {"app": {"claude": U}}
        used = json.loads(printed(world, "export"))["mappings"][0]["last_used"]
        assert used.startswith(iso(written))

    def test_what_has_a_room_is_skipped(self, world: World) -> None:
        transcript(world, U, "/home/ada/app")
        transcript(world, V, "/srv/web")
        transcript(world, W, "/srv/web", age=0)
        other = transcript(world, derived("x"), "/srv/api").stem
        mappings = {"mine": {"a": entry(U)}, "old": {"b": entry(V)}, "api": {"claude": entry(W)}}
        mappings["api"]["claude"]["uuid"] = derived("y")
        store(world, mappings)
        before = files(world)
        assert printed(world, "import", "--from-projects") == (
            "ROOM\tAGENT\tID\tCHANGE\tWHY\n"
            f"api\tclaude\t{other}\tskipped\tthe room has {derived('y')}:"
            " --replace replaces it\n"
            f"app\tclaude\t{U}\tskipped\troom 'mine', agent 'a' has it already\n"
            f"web\tclaude\t{W}\tskipped\tthe project has room 'old', agent 'b' already\n"
            "3 skipped.\n"
        )
        assert files(world) == before

    def test_with_replace_it_takes_the_place(self, world: World) -> None:
        transcript(world, U)
        store(world, {"app": {"claude": entry(V)}})
        assert printed(world, "import", "--from-projects", "--replace").endswith("1 replaced.\n")
        assert world.mappings == {"app": {"claude": U}}
        assert history(world) == [("app", "claude", V)]

    @pytest.mark.parametrize("who", ["holder", "unmanaged"])
    def test_what_a_claude_is_live_on_is_left_alone(self, world: World, who: str) -> None:
        transcript(world, U)
        store(world, {"app": {"claude": entry(V)}})
        with somebody(world, who, "app", "claude", V):
            run = ask(world, "import", "--from-projects", "--replace")
        assert run.exit_code == 75
        assert world.mappings == {"app": {"claude": V}}

    def test_a_second_time_nothing_changes(self, world: World) -> None:
        transcript(world, U)
        printed(world, "import", "--from-projects")
        before = files(world)
        assert printed(world, "import", "--from-projects") == "1 unchanged.\n"
        assert files(world) == before

    def test_one_project_by_its_directory(self, world: World) -> None:
        app = world.root / "my_app"
        app.mkdir()
        transcript(world, U, str(app))
        transcript(world, V, "/srv/web")
        printed(world, "import", "--project", str(app))
        assert world.mappings == {"my_app": {"claude": U}}

    def test_this_project_with_a_name_and_an_agent(self, world: World) -> None:
        transcript(world, U, str(world.directory))
        printed(world, "import", "--project", "--room", "r", "--agent", "a")
        assert world.mappings == {"r": {"a": U}}

    def test_a_project_deeper_than_a_name_can_tell(self, world: World) -> None:
        deep = world.root / ("d" * 120) / ("e" * 120)
        deep.mkdir(parents=True)
        name = "".join(c if c.isalnum() else "-" for c in str(deep))[:200]
        for session_id, ending in ((U, ""), (V, "e")):
            path = transcript(world, session_id, f"/hash{ending}")
            line = path.read_text().replace(f"/hash{ending}", f"{deep}{ending}")
            path.write_text(line)
            path.parent.rename(path.parent.parent / f"{name}{path.parent.name}")
        printed(world, "import", "--project", str(deep))
        assert world.mappings == {"e" * 120: {"claude": U}}

    def test_a_room_that_is_taken_is_a_failure(self, world: World) -> None:
        transcript(world, U, str(world.directory))
        store(world, {"work": {"claude": entry(V)}})
        run = ask(world, "import", "--project")
        assert run.exit_code == 1
        assert f"the room has {V}: --replace replaces it" in run.stdout.decode()
        assert world.mappings == {"work": {"claude": V}}

    def test_a_directory_without_conversations(self, world: World) -> None:
        assert refused(world, "import", "--project") == (
            f"{world.directory} has no conversation that claude can resume:"
            " --from-projects --dry-run lists the projects that have"
        )

    def test_what_is_no_transcript_is_left_out(self, world: World) -> None:
        path = transcript(world, U, "/home/ada/app")
        os.mkfifo(path.with_name(f"{V}.jsonl"))
        path.with_name(f"{W}.jsonl").symlink_to("/dev/zero")
        path.with_name(f"{derived('x')}.jsonl").symlink_to("nowhere")
        said = printed(world, "import", "--from-projects")
        assert said == f"ROOM\tAGENT\tID\tCHANGE\tWHY\napp\tclaude\t{U}\tadded\t\n1 added.\n"

    def test_an_empty_home_has_nothing(self, world: World) -> None:
        assert printed(world, "import", "--from-projects") == "There is nothing to import.\n"
        assert not world.store.parent.exists()


def iso(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class TestWhich:
    def test_it_is_the_claude_behind_the_launcher(self, world: World) -> None:
        assert printed(world, "which") == f"{world.claude.path}\n"

    def test_all_are_listed_once_in_their_order(self, world: World) -> None:
        usual = world.home / ".local" / "bin"
        usual.mkdir(parents=True)
        (usual / "claude").write_text("#!/bin/sh\n")
        (usual / "claude").chmod(0o755)
        world.path(world.launcher.parent, usual, world.claude.path.parent, usual)
        assert printed(world, "which", "--all") == f"{usual}/claude\n{world.claude.path}\n"

    def test_a_path_relative_to_the_working_directory_is_printed_in_full(
        self, world: World
    ) -> None:
        world.path(world.launcher.parent, "../real")
        assert printed(world, "which") == f"{world.claude.path}\n"

    def test_without_any_it_is_exit_code_127(self, world: World) -> None:
        world.path(world.launcher.parent)
        assert refused(world, "which", exit_code=127).startswith("no claude on PATH ")


COMMANDS = [
    ["link", "r", "claude", U],
    ["forget", "r"],
    ["prune", "--older-than", "0s", "--yes"],
    ["import", "mappings.json"],
    ["import", "--project"],
    ["export"],
]
READ_ONLY = """\
import builtins, errno, os, posix
def read_only(name, real):
    def call(path, *args, **kwargs):
        if name != "open" or args[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, *args, **kwargs)
    setattr(posix, name, call); setattr(os, name, call)
for name in ("open", "mkdir", "rename", "chmod", "unlink"):
    read_only(name, getattr(posix, name))
"""


class TestBrokenStores:
    @pytest.fixture(autouse=True)
    def conversations(self, world: World, exported: Path) -> None:
        transcript(world, U)
        transcript(world, V)
        transcript(world, W, str(world.directory))

    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
    def test_a_damaged_store_is_recovered_with_one_warning(
        self, world: World, command: list[str]
    ) -> None:
        store(world, {"r": {"claude": entry(V)}, "s": {"claude": entry(U)}})
        world.store.write_text(world.store.read_text()[:-8])
        run = ask(world, *command)
        assert run.exit_code == 0
        assert "is damaged" in run.lines[0]
        assert len([line for line in run.lines if "is damaged" in line]) == 1
        assert json.loads(world.store.read_text()) is not None

    @pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
    def test_a_directory_in_the_stores_place_is_one_line(
        self, world: World, command: list[str]
    ) -> None:
        world.store.mkdir(parents=True)
        assert refused(world, *command) == f"{world.store}: Is a directory: move it away"

    @pytest.mark.parametrize("command", COMMANDS[:5], ids=lambda command: command[0])
    def test_on_a_read_only_file_system_it_is_one_line_and_nothing_changes(
        self, world: World, command: list[str]
    ) -> None:
        store(world, {"r": {"claude": entry(V)}})
        before = files(world)
        run = ask_process(world, *command, program=READ_ONLY + PROGRAM)
        assert (run.exit_code, run.lines) == (
            1,
            [f"claude-shim: {world.store}: Read-only file system"],
        )
        assert files(world) == before

    def test_on_a_read_only_file_system_the_mappings_can_be_exported(self, world: World) -> None:
        store(world, {"r": {"claude": entry(V)}})
        run = ask_process(world, "export", program=READ_ONLY + PROGRAM)
        assert (run.exit_code, run.stderr) == (0, b"")
        assert V in run.stdout.decode()

    def test_a_lock_that_stays_taken_is_waited_for_5_seconds(self, world: World) -> None:
        store(world, {"r": {"claude": entry(V)}})
        with world.store.open() as file, child(lambda: fcntl.flock(file, fcntl.LOCK_EX)) as pid:
            line = refused(world, "forget", "r", exit_code=75)
        assert line.startswith(f"{world.store} stays locked by another process: ")
        assert line.endswith(f"(pid {pid})")


class TestOddStreams:
    """What a caller may give as stdin, stdout and stderr."""

    def shell(self, world: World, redirected: str) -> tuple[int, str]:
        """The exit code and what is said of a command with redirected streams."""
        program = [sys.executable, "-c", PROGRAM]
        environment = world.environment | {"PYTHONPATH": str(Path(shim.__file__).parent.parent)}
        ran = subprocess.run(
            ["/bin/sh", "-c", f'"$0" "$@" {redirected}', *program, "import", "-"],
            env=environment,
            input=json.dumps(OLD).encode(),
            capture_output=True,
        )
        return ran.returncode, ran.stderr.decode()

    def test_a_full_stdout_is_one_line(self, world: World) -> None:
        assert self.shell(world, ">/dev/full") == (
            1,
            "claude-shim: stdout cannot be written: No space left on device\n",
        )

    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
    def test_nobody_need_read_what_is_said(self, world: World, closed: str) -> None:
        assert self.shell(world, closed) == (0, "")
        assert json.loads(world.store.read_text()) == OLD

    def test_a_closed_stdin_is_empty(self, world: World) -> None:
        code, said = self.shell(world, "<&-")
        assert (code, said) == (1, "claude-shim: stdin is no JSON: see character 0\n")


class TestManyMappings:
    @pytest.fixture
    def many(self, world: World, long: bool) -> list[str]:
        """The session ids of a store with two agents a room: 100,000 with `--long`."""
        count = 100_000 if long else 10_000
        session_ids = [str(uuid.UUID(int=number, version=4)) for number in range(count)]
        store(
            world,
            {
                f"oc-ses_{number}": {
                    "a": entry(session_ids[2 * number]),
                    "b": entry(session_ids[2 * number + 1]),
                }
                for number in range(count // 2)
            },
        )
        return session_ids

    def test_one_is_forgotten_and_linked(self, world: World, many: list[str]) -> None:
        transcript(world, many[7])
        printed(world, "forget", "oc-ses_3", "b")
        printed(world, "link", "oc-ses_3", "b", many[7])
        assert world.mappings["oc-ses_3"] == {"a": many[6], "b": many[7]}
        assert sum(map(len, world.mappings.values())) == len(many)

    @pytest.mark.usefixtures("many")
    def test_an_invalid_name_is_reported_soon(self, world: World) -> None:
        started = time.process_time()
        assert refused(world, "show", "oc-ses_x") == (
            "there is no room 'oc-ses_x': see `claude-shim list`"
        )
        assert time.process_time() - started < 5

    def test_all_are_exported_pruned_and_imported(self, world: World, many: list[str]) -> None:
        ask(world, "export", "all.json")
        before = world.mappings
        assert printed(world, "prune", "--yes").endswith(f"Removed {len(many):,} mappings.\n")
        assert world.mappings == {}
        assert f"{len(many):,} added." in printed(world, "import", "all.json")
        assert world.mappings == before

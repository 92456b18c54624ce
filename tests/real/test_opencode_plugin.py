"""The plugin alone, in the JavaScript engine that is in OpenCode, with a client of the test's."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import shim
from tests.support import opencode
from tests.support.real_claude import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Any]

PLUGIN = Path(shim.__file__).parent / "opencode" / "claude-shim.js"
# With these names, none is inherited any more.
NOT_TOLD = {"NSED_SHIM_ROOM": "", "NSED_SHIM_AGENT": ""}
STAND_IN_2 = Path(opencode.__file__).with_name("opencode_2.js")
PARENTS = {"grandchild": "child", "child": "root", "root": None, "another": None}

# Has `hooks`, `shellEnv` and `inCall` for a test's own lines, which end with a `return`.
HARNESS = """
import { spawnSync } from "node:child_process"
import plugin from %(plugin)s
const parents = %(parents)s
let asked = 0
const client = {
  session: {
    get: async ({ path: { id } }) => {
      asked += 1
      return { data: id in parents ? { id, parentID: parents[id] } : undefined }
    },
    messages: async () => ({ data: [{ info: { role: "assistant", agent: "typed" } }] }),
  },
  app: { log: () => Promise.reject("nobody listens") },
}
const hooks = await plugin.server({ client })
const shellEnv = async (sessionID) => {
  const output = { env: {} }
  await hooks["shell.env"]({ sessionID, cwd: "/", callID: "call" }, output)
  return output.env
}
const inCall = async (sessionID, agent, work, answering = agent) => {
  await hooks["chat.params"]({ sessionID, agent, message: { agent: answering } }, {})
  return await work()
}
const names = () => {
  const command = 'echo "$NSED_ROOM_ID/$NSED_AGENT_NAME/$NSED_SHIM_DISABLE"'
  const done = spawnSync("/bin/sh", ["-c", command], { env: { ...process.env } })
  return String(done.stdout).trim()
}
// Not at the top level, where a hook never runs: Bun 1.3.14 crashes at an await there that has an
// asynchronous context.
setTimeout(async () => console.log(JSON.stringify(await (async () => { %(lines)s })())))
"""

# Has `opencode`, which runs the plugin, and `names`, a command that prints what it was told.
HARNESS_2 = """
import { OpenCode2 } from %(stand_in)s
import plugin from %(plugin)s
const opencode = new OpenCode2(%(parents)s)
await plugin.setup(opencode.context)
const names = 'echo "$NSED_ROOM_ID/$NSED_AGENT_NAME/$NSED_SHIM_ROOM$NSED_SHIM_AGENT"'
console.log(JSON.stringify(await (async () => { %(lines)s })()))
"""


def named(room: str, agent: str) -> dict[str, str]:
    return {"NSED_ROOM_ID": room, "NSED_AGENT_NAME": agent, **NOT_TOLD}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run lines of JavaScript beside the plugin; what they return."""

    def run(
        lines: str,
        program: str | Path | None = None,
        harness: str = HARNESS,
        warns: str = "",
        **given: str,
    ) -> Any:
        plugin = shutil.copy(PLUGIN, tmp_path / "plugin.mjs")
        stand_in = shutil.copy(STAND_IN_2, tmp_path / "opencode.mjs")
        script = tmp_path / "script.mjs"
        facts = {"plugin": plugin, "stand_in": stand_in, "parents": PARENTS}
        facts = {name: json.dumps(fact, default=str) for name, fact in facts.items()}
        script.write_text(harness % {**facts, "lines": lines})
        done = subprocess.run(
            [program or opencode.binary(), script],
            env={"BUN_BE_BUN": "1", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **given},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert (done.returncode, done.stderr) == (0, warns), done
        return json.loads(done.stdout)

    return run


@pytest.fixture
def run_2(run: Run) -> Run:
    """The same in the stand-in for OpenCode 2."""
    return functools.partial(run, harness=HARNESS_2)


# Commands of the shell tool


def test_a_session_is_followed_to_its_root_and_looked_up_once(run: Run) -> None:
    lines = """
        const first = await inCall("grandchild", "alice", () => shellEnv("grandchild"))
        const second = await inCall("grandchild", "bob", () => shellEnv("grandchild"))
        return [first, second, asked]
    """
    assert run(lines) == [
        named("oc-root", "alice"),
        named("oc-root", "bob"),
        len(("grandchild", "child", "root")),
    ]


def test_a_command_that_the_user_types_has_the_agent_of_its_message(run: Run) -> None:
    assert run('return await shellEnv("root")') == named("oc-root", "typed")


def test_a_terminal_without_a_session_gets_no_names(run: Run) -> None:
    assert run("return await shellEnv(undefined)") == {}


def test_each_variable_that_opencode_was_started_with_wins_by_itself(run: Run) -> None:
    lines = 'return await inCall("root", "build", () => shellEnv("root"))'
    build = named("oc-root", "build")
    for name in ("NSED_ROOM_ID", "NSED_AGENT_NAME"):
        assert run(lines, **{name: "mine"}) == {**build, name: "mine"}
        assert run(lines, **{name: ""}) == build


def test_what_opencode_only_inherited_from_a_claude_around_it_does_not_win(run: Run) -> None:
    inherited = {
        "NSED_ROOM_ID": "outer",
        "NSED_SESSION_ID": "outer",
        "NSED_AGENT_NAME": "a",
        "NSED_SHIM_ROOM": "outer",
        "NSED_SHIM_AGENT": "a",
    }
    lines = 'return await inCall("root", "build", async () => [await shellEnv("root"), names()])'
    assert run(lines, **inherited) == [named("oc-root", "build"), "oc-root/build/"]
    said = run(lines, **{**inherited, "NSED_SESSION_ID": "said"})
    assert said == [named("said", "build"), "said/build/"]


def test_without_an_environment_that_can_be_watched_commands_have_their_names(run: Run) -> None:
    lines = 'return await inCall("child", "build", () => shellEnv("child"))'
    node = shutil.which("node")
    assert run(lines, program=node) == named("oc-root", "build")


def test_a_command_in_an_auxiliary_agents_context_is_of_the_agent_that_runs_it(run: Run) -> None:
    lines = 'return await inCall("root", "compaction", () => shellEnv("root"), "build")'
    typed = named("oc-root", "typed")
    assert run(lines) == {**typed, "NSED_SHIM_DISABLE": ""}
    assert run(lines, NSED_SHIM_DISABLE="0") == {**typed, "NSED_SHIM_DISABLE": "0"}


# A claude that a provider spawns


def test_of_calls_at_once_each_spawns_with_its_own_names(run: Run) -> None:
    lines = """
        let go
        const gate = new Promise((open) => (go = open))
        const later = async () => (await gate, names())
        const all = [inCall("root", "build", later), inCall("child", "alice", later)]
        await new Promise((soon) => setImmediate(soon))
        go()
        return await Promise.all(all)
    """
    assert run(lines) == ["oc-root/build/", "oc-root/alice/"]


def test_an_agent_may_be_given_as_an_object(run: Run) -> None:
    assert run('return await inCall("root", { name: "build" }, names, "build")') == "oc-root/build/"


@pytest.mark.parametrize("given", [{}, {"NSED_ROOM_ID": "mine", "NSED_AGENT_NAME": "me"}])
@pytest.mark.parametrize("auxiliary", ["title", "summary", "compaction"])
def test_what_an_auxiliary_agent_spawns_is_left_alone(
    run: Run, auxiliary: str, given: dict[str, str]
) -> None:
    lines = f'return await inCall("root", "{auxiliary}", names, "build")'
    assert run(lines, **given).endswith("/1")


def test_before_any_call_the_environment_is_what_opencode_was_started_with(run: Run) -> None:
    assert run("return names()") == "//"
    assert run("return names()", NSED_ROOM_ID="mine", NSED_SHIM_DISABLE="0") == "mine//0"


def test_a_variable_set_while_opencode_runs_wins_too(run: Run) -> None:
    lines = """
        process.env.NSED_ROOM_ID = "set"
        return await inCall("root", "build", names)
    """
    assert run(lines) == "set/build/"


def test_a_second_copy_of_the_plugin_takes_no_call_for_what_opencode_was_started_with(
    run: Run,
) -> None:
    lines = """
        return await inCall("root", "build", async () => {
          const copy = await import("./plugin.mjs?another")
          await (await copy.default.server({ client }))["chat.params"](
            { sessionID: "child", agent: "alice", message: { agent: "alice" } }, {})
          return names()
        })
    """
    assert run(lines) == "oc-root/alice/"


# When something fails


def test_a_session_that_cannot_be_looked_up_fails_no_hook_and_gives_no_names(run: Run) -> None:
    lines = """
        return await inCall("nobody's", "build", async () => [await shellEnv("nobody's"), names()])
    """
    assert run(lines) == [{}, "//"]


def test_a_message_without_an_agent_fails_no_hook_and_gives_no_names(run: Run) -> None:
    lines = """
        await hooks["chat.params"]({ sessionID: "root", agent: "build" }, {})
        return names()
    """
    assert run(lines) == "//"


@pytest.mark.parametrize(
    "trouble",
    [
        "client.session.get = () => new Promise(() => {})",
        'Object.assign(parents, { root: "child" })',
        """
        client.session.get = () => Promise.reject("no session")
        client.app.log = () => { throw "no log" }
        """,
    ],
    ids=["a lookup that hangs", "parents in a circle", "a log that throws"],
)
def test_trouble_in_a_lookup_fails_no_hook_and_gives_no_names(run: Run, trouble: str) -> None:
    lines = """
        return await inCall("root", "build", async () => [await shellEnv("root"), names()])
    """
    assert run(f"{trouble}\n{lines}") == [{}, "//"]


# In OpenCode 2


def test_2_a_command_of_an_agent_has_its_root_session_and_agent(run_2: Run) -> None:
    assert (
        run_2('return await opencode.agentRuns("grandchild", "alice", names)') == "oc-root/alice/"
    )


def test_2_of_commands_at_once_each_has_its_own_names(run_2: Run) -> None:
    lines = """
        const wait = (what) => `true ${what}; ${names}`
        return await Promise.all([
          opencode.agentRuns("root", "build", wait(1)),
          opencode.agentRuns("child", "alice", wait(2)),
          opencode.agentRuns("another", "build", wait(3)),
        ])
    """
    assert run_2(lines) == ["oc-root/build/", "oc-root/alice/", "oc-another/build/"]


def test_2_one_command_of_two_agents_at_once_gets_no_names(run_2: Run) -> None:
    lines = """
        const runs = ["build", "alice"].map((agent) => opencode.agentRuns("root", agent, names))
        return await Promise.all(runs)
    """
    assert run_2(lines) == ["//", "//"]


def test_2_after_a_call_has_ended_its_command_is_nobodys(run_2: Run) -> None:
    lines = """
        await opencode.agentRuns("root", "build", names)
        return [await opencode.userRuns("another", names),
                await opencode.agentRuns("another", "plan", names)]
    """
    assert run_2(lines) == ["//", "oc-another/plan/"]


def test_2_a_call_of_another_tool_is_no_caller(run_2: Run) -> None:
    assert run_2('return await opencode.agentRuns("root", "build", names, "terminal")') == "//"


def test_2_what_the_service_was_started_with_never_wins(run_2: Run) -> None:
    terminal = {"NSED_ROOM_ID": "x", "NSED_AGENT_NAME": "a", "NSED_SHIM_ROOM": "x"}
    lines = """
        return [await opencode.agentRuns("root", "build", names),
                await opencode.userRuns("root", names)]
    """
    assert run_2(lines, **terminal) == ["oc-root/build/", "//"]


def test_2_a_session_that_cannot_be_looked_up_fails_no_command_and_gives_no_names(
    run_2: Run,
) -> None:
    warns = "claude-shim: Error: no session nobody's\n"
    lines = """return await opencode.agentRuns("nobody's", "build", names)"""
    assert run_2(lines, warns=warns) == "//"

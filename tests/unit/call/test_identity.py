"""Which room and agent a call belongs to."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.base.session_key import SessionKey
from shim.call import identity
from shim.store import plugin_links

ROOM, SESSION, AGENT = b"NSED_ROOM_ID", b"NSED_SESSION_ID", b"NSED_AGENT_NAME"
TOLD = {b"NSED_SHIM_ROOM": b"outer", b"NSED_SHIM_AGENT": b"outer-agent"}
# How a variable stands in the environment of a call: it has its own value, or that of the claude
# around it, which told its room and agent.
UNSET, SAID, INHERITED = "unset", "said", "inherited"
STATES = (UNSET, SAID, INHERITED)
Environ = dict[bytes, bytes]


def environment(room: str, session: str, agent: str) -> Environ:
    values = {
        ROOM: {SAID: b"r", INHERITED: b"outer"}.get(room),
        SESSION: {SAID: b"s", INHERITED: b"outer"}.get(session),
        AGENT: {SAID: b"a", INHERITED: b"outer-agent"}.get(agent),
    }
    told = TOLD if INHERITED in (room, session, agent) else {}
    return told | {name: value for name, value in values.items() if value}


def expected(
    room: str, session: str, agent: str, option: bytes, opencode: tuple[bytes, bytes] | None
) -> tuple[str, str, bool] | None:
    """What the table of help how-it-works says, the first row that fits."""
    rooms = {
        "r": room == SAID,
        "s": session == SAID,
        "oc": opencode is not None,
        "outer": INHERITED in (room, session),
    }
    named = next((name for name, fits in rooms.items() if fits), "")
    is_said = named in ("r", "s", "oc")
    agents = {
        "a": agent == SAID,
        # NSED's worker says its agent with its room, also where the two agents have one name.
        "outer-agent": agent == INHERITED and named == "s",
        "o": bool(option and named),
        "build": bool(opencode and opencode[1]),
        "outer-agent ": agent == INHERITED and not is_said,
        "claude": bool(named),
    }
    whose = next((name.strip() for name, fits in agents.items() if fits), None)
    if whose is None:
        return None
    if not named and whose == "outer-agent":
        named = "outer"  # nothing is explicit: that claude's agent in its room
    return named, whose, named == "outer"


@pytest.mark.parametrize("opencode", [None, (b"oc", b"build"), (b"oc", b"")], ids=repr)
@pytest.mark.parametrize("option", [b"", b"o"], ids=["", "--agent o"])
@pytest.mark.parametrize("agent", STATES)
@pytest.mark.parametrize("session", STATES)
@pytest.mark.parametrize("room", STATES)
def test_a_call_belongs_to_the_first_source_that_names_its_room_and_agent(
    room: str, session: str, agent: str, option: bytes, opencode: tuple[bytes, bytes] | None
) -> None:
    environ = environment(room, session, agent)
    if SAID in (room, session, agent):  # OpenCode is asked only where no variable is explicit
        opencode = None
    found = identity.resolve(environ, option, opencode)
    named = found and (found.key.room, found.key.agent, found.is_inherited)
    assert named == expected(room, session, agent, option, opencode)


@pytest.mark.parametrize(
    ("environ", "option", "account"),
    [
        ({ROOM: b"r"}, b"", "room from NSED_ROOM_ID; default agent"),
        (
            {SESSION: b"s", AGENT: b"a"},
            b"",
            "room from NSED_SESSION_ID; agent from NSED_AGENT_NAME",
        ),
        ({ROOM: b"outer", **TOLD}, b"o", "inherited room; agent from --agent"),
        ({ROOM: b"outer", AGENT: b"outer-agent", **TOLD}, b"", "inherited room; inherited agent"),
        ({AGENT: b"a"}, b"", "no room; agent from NSED_AGENT_NAME"),
    ],
)
def test_it_says_which_sources_won(environ: Environ, option: bytes, account: str) -> None:
    assert str(identity.resolve(environ, option, None)).endswith(f": {account}")


@pytest.mark.parametrize(
    ("environ", "option", "key"),
    [
        ({ROOM: b"outer", AGENT: b"a"}, b"", ("outer", "a")),
        ({ROOM: b"outer", AGENT: b"outer-agent"}, b"o", ("outer", "o")),
        ({SESSION: b"outer", AGENT: b"a"}, b"", ("outer", "a")),
    ],
)
def test_an_explicit_agent_is_one_of_the_inherited_room(
    environ: Environ, option: bytes, key: tuple[str, str]
) -> None:
    found = identity.resolve({**TOLD, **environ}, option, None)
    assert found
    assert (found.key.room, found.key.agent) == key
    assert found.is_inherited
    assert found.has_agent


def test_a_room_without_a_name_is_inherited_as_any() -> None:
    outer = {b"NSED_SHIM_ROOM": b"", b"NSED_SHIM_AGENT": b"outer-agent"}
    for agent, is_explicit in ((b"outer-agent", False), (b"a", True)):
        found = identity.resolve({**outer, AGENT: agent}, b"", None)
        assert found
        assert (found.key.room, found.key.agent) == ("", agent.decode())
        assert (found.is_inherited, found.has_agent) == (True, is_explicit)


@pytest.mark.parametrize("room", [b"outer", b"oc-ses_1"])
def test_the_room_of_the_outer_claude_is_inherited_whoever_names_it(room: bytes) -> None:
    outer = {b"NSED_SHIM_ROOM": room, b"NSED_SHIM_AGENT": b"a"}
    found = identity.resolve({**outer, ROOM: room}, b"", (room, b"build"))
    assert found
    assert found.is_inherited


def test_without_the_outer_room_every_name_is_explicit() -> None:
    environ = {ROOM: b"outer", AGENT: b"outer-agent", b"NSED_SHIM_AGENT": b"outer-agent"}
    found = identity.resolve(environ, b"", None)
    assert found
    assert (found.key.room, found.key.agent) == ("outer", "outer-agent")
    assert not found.is_inherited


NAMES = [ROOM, SESSION, AGENT, *TOLD, b"OPENCODE_PID", b"CLAUDE_CODE_SESSION_ID", b"NSED_ROUND"]


@given(
    st.dictionaries(st.sampled_from(NAMES) | st.binary(), st.binary()),
    st.binary(),
)
def test_no_combination_gives_a_call_a_key_that_no_variable_names(
    environ: Environ, option: bytes
) -> None:
    unnamed = {**environ, ROOM: b"", SESSION: b"", AGENT: b""}
    assert identity.opencode_names({**unnamed, b"OPENCODE": b""}) is None
    assert identity.resolve(unnamed, option, None) is None


def test_empty_means_unset_and_blanks_and_a_zero_are_names() -> None:
    assert identity.resolve({ROOM: b"", SESSION: b"", AGENT: b""}, b"o", None) is None
    found = identity.resolve({ROOM: b" ", AGENT: b"0"}, b"", None)
    assert found
    assert (found.key.room, found.key.agent) == (" ", "0")


def test_the_same_command_means_the_same_conversation_inside_and_outside() -> None:
    said = {ROOM: b"x"}
    outside, inside = (
        identity.resolve({**around, **said}, b"", None)
        for around in ({}, {AGENT: b"outer-agent", SESSION: b"outer", **TOLD})
    )
    assert str(outside) == str(inside)


@pytest.mark.parametrize("environ", [{ROOM: b"r"}, {SESSION: b"s", AGENT: b"a"}, {AGENT: b"a"}])
def test_what_a_claude_inherits_means_its_own_key_at_any_depth(environ: Environ) -> None:
    outer = identity.resolve(environ, b"", None)
    assert outer
    for _ in range(3):
        told = identity.variables_inside(outer.key, environ)
        environ = environ | {name.encode(): value for name, value in told.items()}
        inner = identity.resolve(environ, b"", None)
        assert inner
        assert str(inner.key) == str(outer.key)
        assert inner.is_inherited


@pytest.mark.parametrize(
    "environ",
    [{}, {b"OPENCODE": b"0"}, {ROOM: b"r"}, {SESSION: b"s"}, {AGENT: b"a"}],
    ids=["no OpenCode", "OPENCODE=0", "a room", "a session", "an agent"],
)
def test_ancestors_are_asked_only_under_opencode_without_the_variables(
    environ: Environ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shim.opencode.command_line.conversation", lambda: pytest.fail("asked"))
    under = environ and b"OPENCODE" not in environ
    assert identity.opencode_names({b"OPENCODE": b"1", **environ} if under else environ) is None


def test_the_session_of_opencode_2_names_the_room() -> None:
    environ = {b"OPENCODE": b"1", b"OPENCODE_SESSION_ID": b"ses_1", b"OPENCODE_PID": b"1"}
    assert identity.opencode_names(environ) == (b"oc-ses_1", b"")
    assert identity.opencode_names({**environ, ROOM: b"r"}) is None
    inherited = {**environ, **TOLD, ROOM: b"outer"}
    assert identity.opencode_names(inherited) is None  # no process is known
    # No OpenCode is nearer than this process.
    assert identity.opencode_names({**inherited, b"NSED_SHIM_PID": b"%d:" % os.getppid()}) is None


OTHERS = environment(INHERITED, INHERITED, INHERITED) | {b"CLAUDE_JOB_DIR": b"/jobs/1"}


class TestInTheBackground:
    """A worker has the environment of the claude that started the service, of another room."""

    @pytest.fixture(autouse=True)
    def _worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plugin_links, "key_of_worker", lambda: SessionKey(b"own", b"own-agent"))

    @pytest.mark.parametrize(
        ("said", "key"),
        [
            ({}, ("own", "own-agent")),
            ({ROOM: b"r"}, ("r", "claude")),
            ({SESSION: b"s"}, ("s", "own-agent")),
            ({AGENT: b"a"}, ("own", "a")),
            ({ROOM: b"r", AGENT: b"a"}, ("r", "a")),
        ],
    )
    def test_what_is_inherited_is_the_workers_own(
        self, said: Environ, key: tuple[str, str]
    ) -> None:
        found = identity.resolve(identity.with_workers_names({**OTHERS, **said}), b"", None)
        assert found
        assert (found.key.room, found.key.agent) == key

    def test_in_a_worker_of_no_room_nothing_is_inherited(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plugin_links, "key_of_worker", lambda: None)
        assert identity.resolve(identity.with_workers_names(OTHERS), b"", None) is None

    def test_elsewhere_the_environment_is_as_it_is(self) -> None:
        environ = {**TOLD, ROOM: b"outer"}
        assert identity.with_workers_names(environ) is environ

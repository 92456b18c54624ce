"""What we take a command line for is what the real claude does with it.

Each line is run by the real claude without the shim, in an empty home, on a network that ends at
loopback. Lines that would install, delete, sign in or start a service are run as `… --help` only:
whose help claude then shows says what it took the word for.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytest

from shim.claude import invocation, spec_lookup
from shim.claude.cli_spec import FLAG, OPTIONAL, VALUE, VARIADIC, CliSpec, built_in
from tests.support import real_claude
from tests.support.messages_api import MessagesApi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shim.claude.invocation import Invocation
    from tests.support.messages_api import Request

    Claude = Callable[["Args"], "Outcome"]

Args = tuple[str, ...]

X = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
# Nothing listens there, so that whatever is no loopback address is out of reach.
NOWHERE = "http://127.0.0.1:9"
PATIENCE = 300.0
"""Seconds after which a claude that has not ended is killed."""

# Claude opens a conversation, whose id it chooses itself or takes from --session-id.
OPENS: list[Args] = [
    # a prompt is the first operand, wherever it stands
    ("hi",),
    ("-p", "hi"),
    ("hi", "-p"),
    ("--print", "hi"),
    ("-p", "hi", "you"),
    ("-",),
    ("-p", "-"),
    ("a prompt\nof two lines",),
    ("mcp list",),
    ("update ",),
    ("hi", "mcp"),
    ("hi", "--", "update"),
    ("hi", "-p", "--", "update"),
    # where `-p` stands by itself, no word is a subcommand
    ("-p", "update"),
    ("-p", "upgrad"),
    ("-p", "mcp", "list"),
    ("-p", "doctor"),
    ("-p", "agents"),
    ("-p", "auth", "status"),
    ("-p", "logs"),
    ("--print", "config"),
    ("--print", "stop"),
    ("mcp", "-p"),
    ("mcp", "list", "--print"),
    ("agents", "--print"),
    ("--model", "haiku", "-p", "mcp"),
    ("--verbose", "mcp", "--output-format", "text", "-p"),
    # -- ends the options
    ("--", "-c"),
    ("--", "--help"),
    ("-p", "--", "-p"),
    ("-p", "--", "--version"),
    ("-p", "--", "update"),
    ("-p", "--", "mcp", "list"),
    ("-p", "--", "--", "hi"),
    ("hi", "--", "--resume"),
    ("--", "remote"),
    # words that are commands only as the first, only elsewhere, or nowhere
    ("-p", "remote"),
    ("-p", "rc"),
    ("-p", "remote-control"),
    ("-p", "sync"),
    ("-p", "self-hosted-runner"),
    ("-p", "daemon"),
    ("--verbose", "remote"),
    ("--verbose", "sync"),
    ("--verbose", "self-hosted-runner"),
    ("--verbose", "daemon"),
    ("--model=haiku", "daemon", "status"),
    ("help",),
    ("help", "mcp"),
    ("-p", "help"),
    ("config",),
    ("config", "list"),
    ("api-key",),
    ("migrate-installer",),
    ("login",),
    ("logout",),
    # values are no options and no subcommands
    ("--append-system-prompt", "--resume", "hi"),
    ("--append-system-prompt", "--", "hi"),
    ("--append-system-prompt", "--version", "hi"),
    ("--append-system-prompt", "mcp", "hi"),
    ("--append-system-prompt=--resume", "hi"),
    ("--append-system-prompt=", "hi"),
    ("--append-system-prompt", "", "hi"),
    ("-p", "--system-prompt", "--help", "hi"),
    ("--system-prompt", "update", "hi"),
    ("-p", "--system-prompt", "--print", "mcp"),
    ("--model", "--continue", "hi"),
    ("--model=-c", "hi"),
    ("--name", "--session-id", "hi"),
    ("-n", "-r", "hi"),
    ("-n", "doctor", "hi"),
    ("--settings", "{}", "hi"),
    ("--setting-sources", "user", "hi"),
    ("--permission-mode", "plan", "hi"),
    ("--debug-file", "update", "hi"),
    ("--json-schema", '{"type":"object"}', "hi"),
    ("--plugin-dir", "mcp", "hi"),
    ("--remote-control-session-name-prefix", "rc", "hi"),
    ("--remote-control", "mcp", "hi"),
    # glued and clustered
    ("-nfoo", "hi"),
    ("-nmcp", "hi"),
    ("-pn", "foo", "hi"),
    ("-pnfoo", "hi"),
    ("-pn", "mcp", "hi"),
    ("-pp", "hi"),
    ("-pd", "hi", "you"),
    ("-p-verbose", "hi"),
    ("-p-model=haiku", "hi"),
    ("-p-", "-c"),
    ("-d2e", "hi"),
    # optional values
    ("-d",),
    ("-d", "mcp"),
    ("-d", "api", "hi"),
    ("-dmcp", "hi"),
    ("--debug", "hi"),
    ("--debug=mcp", "hi"),
    ("--debug", "-p", "hi"),
    ("--debug", "--", "hi"),
    ("--debug", "-", "hi"),
    ("--debug", "", "hi"),
    ("-d", "-d", "hi", "you"),
    # variadic options swallow operands
    ("--tools", "Bash", "Read"),
    ("--tools", "", "hi"),
    ("--tools", "Bash", "--", "hi"),
    ("--tools", "Bash", "-p", "hi"),
    ("--tools=Bash", "hi"),
    ("--tools", "Bash", "update"),
    ("--allowedTools", "update", "mcp"),
    ("--disallowedTools", "Bash", "Edit", "--model", "haiku", "hi"),
    ("--disallowed-tools=Bash", "hi"),
    ("--add-dir", "-c", "--", "hi"),
    ("--add-dir", "mcp", "update"),
    ("--add-dir", "-p", "--verbose", "hi"),
    ("--betas", "a", "b", "--", "hi"),
    ("--tools", "Bash", "-", "hi"),
    # repeated options
    ("-p", "-p", "hi"),
    ("--model", "opus", "--model", "haiku", "hi"),
    ("--model", "opus", "hi", "--model=haiku"),
    # what --help does not list
    ("--max-turns", "1", "hi"),
    ("--max-thinking-tokens", "1000", "hi"),
    ("--thinking", "disabled", "hi"),
    ("--task-budget", "100", "hi"),
    ("--permission-prompt-tool", "stdio", "hi"),
    ("--prefill", "mcp", "hi"),
    ("--system-prompt-snapshot", "off", "hi"),
    ("--teammate-mode", "in-process", "hi"),
    ("--session-mirror", "hi"),
    ("--init", "hi"),
    ("--maintenance", "hi"),
    ("--allow-other-models", "hi"),
    # flags
    ("--brief", "hi"),
    ("--bare", "hi"),
    ("--restricted", "hi"),
    ("--dangerously-skip-permissions", "hi"),
    # nothing to say, and a conversation all the same
    (),
    ("",),
    ("-p",),
    ("-p", ""),
    # the caller's id
    ("--session-id", X, "hi"),
    (f"--session-id={X}", "hi"),
    ("hi", "--session-id", X),
    ("-p", "--tools", "Bash", "--session-id", X, "hi"),
    ("--session-id", X.upper(), "hi"),
    ("--session-id=", "hi"),
]

# Claude may open one, but it is the caller who says which, that none is kept, or not in here.
CHOSEN: list[Args] = [
    ("-c",),
    ("-c", "hi"),
    ("--continue", "hi"),
    ("hi", "--continue"),
    ("-pc", "hi"),
    ("-cp", "hi"),
    ("-p", "-c", "mcp"),
    ("-r",),
    ("-r", X),
    ("-r" + X,),
    ("-pr", X, "hi"),
    ("-pr" + X, "hi"),
    ("-p-continue", "hi"),
    ("--resume", X, "hi"),
    ("--resume=" + X, "hi"),
    ("--resume=", "hi"),
    ("--resume", "-p", "hi"),
    ("--resume", "mcp", "list"),
    ("--allowedTools", "Bash", "-c", "hi"),
    ("--from-pr", "7", "hi"),
    ("--from-pr=7", "hi"),
    ("--from-pr",),
    ("--fork-session", "hi"),
    ("--teleport", "hi"),
    ("--cloud", "hi"),
    ("--remote", "hi"),
    ("--environment", "x", "hi"),
    ("--pool", "x", "hi"),
    ("--desktop", "hi"),
    ("--attach-serve", "x", "hi"),
    ("--sdk-url", "x", "hi"),
    ("--rewind-files", "x", "hi"),
    ("--resume-session-at", "x", "hi"),
    ("--no-session-persistence", "hi"),
    ("--init-only",),
    ("--tmux", "hi"),
    ("--agents-view-if-allowed", "hi"),
    ("--bg", "-p", "hi"),
    ("--background", "-p", "hi"),
]

# Claude does something else, and sends no turn.
ANSWERS: list[Args] = [
    ("--help",),
    ("-h",),
    ("-p", "-h", "hi"),
    ("hi", "--help"),
    ("--model", "haiku", "--help"),
    ("--version",),
    ("-v",),
    ("-V",),
    ("-pv",),
    ("-vp", "hi"),
    ("hi", "-v"),
    ("-p", "hi", "--version"),
    ("mcp",),
    ("mcp", "list"),
    ("mcp", "list", "--", "-p"),
    ("--", "mcp", "list"),
    ("--verbose", "mcp", "list"),
    ("--model", "haiku", "mcp", "list"),
    ("--model=haiku", "mcp", "list"),
    ("--append-system-prompt", "-p", "mcp", "list"),
    ("--append-system-prompt", "--print", "mcp", "list"),
    ("-d", "x", "mcp", "list"),
    ("-dp", "mcp", "list"),
    ("-pdx", "mcp", "list"),
    ("-pp", "mcp", "list"),
    ("-pnfoo", "mcp", "list"),
    ("-nfoo", "mcp", "list"),
    ("-d2e", "mcp", "list"),
    ("--tools", "a", "--verbose", "mcp", "list"),
    ("plugin", "list"),
    ("plugins", "list"),
    ("auth", "status"),
    ("agents", "--json"),
    ("auto-mode", "defaults"),
    ("import",),
    ("logs", "x"),
    ("logs", "-p"),
    ("logs", "--print", "x"),
    ("attach", "x"),
    ("attach", "x", "-p"),
    ("stop", "x", "-p"),
    ("kill", "x", "-p"),
    ("rm", "x", "-p"),
    ("respawn", "x", "-p"),
    ("remote",),
    ("remote", "hi"),
    ("rc", "hi"),
    ("--verbose", "rc", "hi"),
    ("daemon", "status"),
    ("daemon", "status", "-p"),
]

# Which help claude shows says whether the word in front is a subcommand to it.
HELP: list[Args] = [
    *((word, "--help") for word in ("agents", "attach", "auth", "auto-mode", "doctor", "gateway")),
    *(
        (word, "--help")
        for word in ("import", "install", "kill", "logs", "mcp", "plugin", "plugins")
    ),
    *(
        (word, "--help")
        for word in ("purge", "respawn", "rm", "setup-token", "stop", "ultrareview")
    ),
    *((word, "--help") for word in ("update", "upgrade", "daemon", "rc", "remote-control")),
    *((word, "--help") for word in ("remote", "sync", "bridge", "self-hosted-runner")),
    *((word, "--help") for word in ("help", "config", "api-key", "migrate-installer", "login")),
    ("--verbose", "daemon", "--help"),
    ("--verbose", "update", "--help"),
    ("--verbose", "sync", "--help"),
    ("-p", "update", "--help"),
    ("update", "-p", "--help"),
    ("-p", "install", "--help"),
    ("-p", "setup-token", "--help"),
    ("-p", "purge", "--help"),
    ("-pp", "update", "--help"),
    ("--model", "-p", "update", "--help"),
    ("--model", "update", "--help"),
    ("--tools", "update", "--help"),
    ("-d", "update", "--help"),
    ("hi", "update", "--help"),
    ("-n", "x", "update", "--help"),
]

# Claude refuses the line, so that nothing depends on how we read it.
REFUSED: list[Args] = [
    ("Update",),
    ("upgrad",),
    ("mpc", "list"),
    ("--no-such-option", "hi"),
    ("hi", "--no-such-option=1"),
    ("--no-such-option", "mcp"),
    ("-x", "hi"),
    ("-px", "hi"),
    ("-hx",),
    ("-1", "hi"),
    ("-p", "-1"),
    ("-m", "haiku", "hi"),
    ("-p", "-V"),
    ("--verbose=x", "hi"),
    ("--print=x", "hi"),
    ("--continue=x", "hi"),
    ("--version=x",),
    ("--help=x",),
    ("--cont", "hi"),
    ("--=x", "hi"),
    ("---", "hi"),
    ("-p", "--update"),
    ("--routine", "x"),
    ("--exec", "x"),
    ("--model",),
    ("hi", "-n"),
    ("--tools",),
    ("--session-id",),
    ("--session-id", "x", "hi"),
    ("--permission-mode", "x", "hi"),
]


@dataclass
class Outcome:
    """What the real claude did with a command line."""

    args: Args
    exit_code: int
    stdout: str
    stderr: str
    turns: list[Request]

    @property
    def opened(self) -> bool:
        """Whether it opened a conversation, or only lacked something to say in it."""
        return bool(self.turns) or "Input must be provided" in self.stderr

    @property
    def showed_its_own_help(self) -> bool:
        return self.stdout.startswith("Usage: claude [options]")


def run(args: Args, root: Path) -> Outcome:
    home, work = root / "home", root / "work"
    work.mkdir(parents=True)
    real_claude.settle_in(home, root)
    with MessagesApi() as api:
        environment = {
            **real_claude.environment(home, api.url),
            "HTTP_PROXY": NOWHERE,
            "HTTPS_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
        }
        process = subprocess.Popen(
            [real_claude.binary(), *args],
            env=environment,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE)
        finally:
            real_claude.kill(process)
        return Outcome(args, process.returncode, stdout, stderr, api.turns())


@pytest.fixture
def claude(tmp_path: Path) -> Claude:
    """What the real claude does with a command line."""
    return lambda args: run(args, tmp_path)


def label(args: Args) -> str:
    return " ".join(arg or "''" for arg in args) or "nothing"


@cache
def own_surface() -> CliSpec:
    """What our real claude's help says of it."""
    with tempfile.TemporaryDirectory() as store:
        return spec_lookup.cli_spec_of(str(real_claude.binary()), store)


def read(args: Args) -> Invocation:
    """Our reading of a command line, which is the same with the built-in table."""
    asked = invocation.read(args, own_surface())
    by_built_in = invocation.read(args)
    assert (asked.left_alone, asked.options) == (by_built_in.left_alone, by_built_in.options)
    return asked


@pytest.mark.parametrize("args", OPENS, ids=label)
def test_a_conversation_that_claude_opens_is_ours_to_choose(claude: Claude, args: Args) -> None:
    outcome = claude(args)
    asked = read(args)

    assert outcome.opened, outcome
    assert asked.left_alone is None
    for turn in outcome.turns[:1]:
        assert turn.prompt == asked.operands[0].strip()
        assert asked.value("--session-id") in (None, "", turn.session_id)
    assert bool(outcome.turns) == any(operand.strip() for operand in asked.operands[:1])


@pytest.mark.parametrize("args", CHOSEN, ids=label)
def test_a_conversation_that_the_caller_chose_is_left_alone(claude: Claude, args: Args) -> None:
    outcome = claude(args)
    asked = read(args)

    assert asked.left_alone is not None
    for turn in outcome.turns:
        assert turn.prompt == asked.operands[0].strip()


@pytest.mark.parametrize("args", ANSWERS, ids=label)
def test_where_claude_opens_no_conversation_it_is_left_alone(claude: Claude, args: Args) -> None:
    outcome = claude(args)

    assert not outcome.opened, outcome
    assert read(args).left_alone is not None


@pytest.mark.parametrize("args", HELP, ids=label)
def test_a_word_is_a_subcommand_to_us_where_claude_shows_its_help(
    claude: Claude, args: Args
) -> None:
    outcome = claude(args)
    asked = read(args)

    assert not outcome.opened, outcome
    assert asked.left_alone is not None
    assert (asked.subcommand is None) == outcome.showed_its_own_help, outcome


@pytest.mark.parametrize("args", REFUSED, ids=label)
def test_a_line_that_claude_refuses_opens_nothing(claude: Claude, args: Args) -> None:
    outcome = claude(args)

    assert not outcome.opened, outcome
    assert outcome.exit_code != 0
    assert outcome.stderr


@pytest.fixture(scope="module")
def help_lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of `claude --help` that begin an entry."""
    environ = real_claude.environment(tmp_path_factory.mktemp("home"), NOWHERE)
    command = [real_claude.binary(), "--help"]
    text = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  (\S.*?)(?:  .*)?$", text, re.MULTILINE)


def test_every_option_that_help_lists_is_known_with_what_it_takes(help_lines: list[str]) -> None:
    listed, known = {}, {}
    for line in help_lines:
        if not line.startswith("-"):
            continue
        spellings = re.findall(r"(?<!\S)--?[\w-]+", line)
        takes = FLAG
        if match := re.search(r" ([<\[])[^>\]]*?(\.\.\.)?[>\]]$", line):
            takes = VARIADIC if match[2] else VALUE if match[1] == "<" else OPTIONAL
        for spelling in spellings:
            listed[spelling] = takes
            option = built_in().option(spelling)
            known[spelling] = option and option[1]
    assert len(listed) > 50
    assert known == listed


def test_every_command_that_help_lists_is_known(help_lines: list[str]) -> None:
    commands = [
        word
        for line in help_lines[next(n for n, x in enumerate(help_lines) if "agents [" in x) :]
        for word in line.split()[0].split("|")
    ]
    assert len(commands) > 15
    assert [word for word in commands if invocation.read([word]).subcommand != word] == []

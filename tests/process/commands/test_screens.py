"""What `search` and `read` look like on terminals of four widths, captured.

Of colours only some of the terminal's own are used, on its own background: so they can be read on
light and dark ones.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from shim.cli.wrapping import broken
from tests.support import screen
from tests.support.claude_shim import ask
from tests.support.recorder import World, write_program
from tests.support.rooms import U, V, entry, store
from tests.support.transcripts import Writer

DAYS = time.time() - 3 * 86400 - 3600
"""Three days ago, however long the test takes."""
LONG = (
    "Remember the word heron, please: we need it when we split the parser into modules, and we"
    " split it soon."
)
ANSWER = """OK: **heron**, twice.

# Plan

1. Split the parser into modules of which each has one purpose
2. Name one of them `heron`

```python
print("heron", "a very long line of code that goes on beyond the edge of most screens")
```
Evil \x1b[31mred\x1b]0;title\x07 \u202ertl \x9b5m and 漢字漢字漢字漢字漢字漢字漢字漢字漢字"""
EVIL = (b"\x1b[31mred", b"\x1b]0;", b"\x07", "\u202e".encode(), "\x9b".encode(), b"\x1b[2J")


# At YYYY-MM-DD HH:MM:SS stands when it was said.
SEARCHES = {
    40: """\
docs/漢字  claude
  3 days ago  user
    In the docs, call it a Heron
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' 'docs/漢字'
  claude-shim open 'docs/漢字'

refactor  planner
  3 days ago  claude
    OK: **heron**, twice.
    2. Name one of them `heron`
    print("heron", "a very long line of…
  3 days ago  user
    …r the word heron, please: we need …
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' refactor planner
  claude-shim open refactor planner
""",
    80: """\
docs/漢字  claude
  3 days ago  user  In the docs, call it a Heron
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' 'docs/漢字'
  claude-shim open 'docs/漢字'

refactor  planner
  3 days ago  claude  OK: **heron**, twice.
                      2. Name one of them `heron`
                      print("heron", "a very long line of code that goes on bey…
  3 days ago  user    Remember the word heron, please: we need it when we split…
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' refactor planner
  claude-shim open refactor planner
""",
    120: """\
docs/漢字  claude
  3 days ago  user  In the docs, call it a Heron
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' 'docs/漢字'
  claude-shim open 'docs/漢字'

refactor  planner
  3 days ago  claude  OK: **heron**, twice.
                      2. Name one of them `heron`
                      print("heron", "a very long line of code that goes on beyond the edge of most screens")
  3 days ago  user    Remember the word heron, please: we need it when we split the parser into modules, and we split i…
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' refactor planner
  claude-shim open refactor planner
""",  # noqa: E501  # as wide as the screen
    200: """\
docs/漢字  claude
  3 days ago  user  In the docs, call it a Heron
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' 'docs/漢字'
  claude-shim open 'docs/漢字'

refactor  planner
  3 days ago  claude  OK: **heron**, twice.
                      2. Name one of them `heron`
                      print("heron", "a very long line of code that goes on beyond the edge of most screens")
  3 days ago  user    Remember the word heron, please: we need it when we split the parser into modules, and we split it soon.
  claude-shim read --since 'YYYY-MM-DD HH:MM:SS' refactor planner
  claude-shim open refactor planner
""",  # noqa: E501  # as wide as the screen
}

READS = {
    40: """\
user  YYYY-MM-DD HH:MM:SS
  Remember the word heron, please: we
  need it when we split the parser into
  modules, and we split it soon.

claude  YYYY-MM-DD HH:MM:SS
  OK: heron, twice.

  Plan

  1. Split the parser into modules of
     which each has one purpose
  2. Name one of them `heron`

    print("heron", "a very long line of
    code that goes on beyond the edge of
     most screens")
  Evil \\x1b[31mred\\x1b]0;title\\x07
  \\u202ertl \\x9b5m and 漢字漢字漢字漢字
  漢字漢字漢字漢字漢字

user  YYYY-MM-DD HH:MM:SS
  Run the tests

claude  YYYY-MM-DD HH:MM:SS
  → Bash  make \\x1b[2J test
  They pass.

  -- interrupted
""",
    80: """\
user  YYYY-MM-DD HH:MM:SS
  Remember the word heron, please: we need it when we split the parser into
  modules, and we split it soon.

claude  YYYY-MM-DD HH:MM:SS
  OK: heron, twice.

  Plan

  1. Split the parser into modules of which each has one purpose
  2. Name one of them `heron`

    print("heron", "a very long line of code that goes on beyond the edge of mos
    t screens")
  Evil \\x1b[31mred\\x1b]0;title\\x07 \\u202ertl \\x9b5m and 漢字漢字漢字漢字漢字漢字
  漢字漢字漢字

user  YYYY-MM-DD HH:MM:SS
  Run the tests

claude  YYYY-MM-DD HH:MM:SS
  → Bash  make \\x1b[2J test
  They pass.

  -- interrupted
""",
    120: """\
user  YYYY-MM-DD HH:MM:SS
  Remember the word heron, please: we need it when we split the parser into modules, and we split it
  soon.

claude  YYYY-MM-DD HH:MM:SS
  OK: heron, twice.

  Plan

  1. Split the parser into modules of which each has one purpose
  2. Name one of them `heron`

    print("heron", "a very long line of code that goes on beyond the edge of most screens")
  Evil \\x1b[31mred\\x1b]0;title\\x07 \\u202ertl \\x9b5m and 漢字漢字漢字漢字漢字漢字漢字漢字漢字

user  YYYY-MM-DD HH:MM:SS
  Run the tests

claude  YYYY-MM-DD HH:MM:SS
  → Bash  make \\x1b[2J test
  They pass.

  -- interrupted
""",
    200: """\
user  YYYY-MM-DD HH:MM:SS
  Remember the word heron, please: we need it when we split the parser into modules, and we split it
  soon.

claude  YYYY-MM-DD HH:MM:SS
  OK: heron, twice.

  Plan

  1. Split the parser into modules of which each has one purpose
  2. Name one of them `heron`

    print("heron", "a very long line of code that goes on beyond the edge of most screens")
  Evil \\x1b[31mred\\x1b]0;title\\x07 \\u202ertl \\x9b5m and 漢字漢字漢字漢字漢字漢字漢字漢字漢字

user  YYYY-MM-DD HH:MM:SS
  Run the tests

claude  YYYY-MM-DD HH:MM:SS
  → Bash  make \\x1b[2J test
  They pass.

  -- interrupted
""",
}


@pytest.fixture
def birds(world: World) -> World:
    """Two rooms; what was said in one of them is hostile."""
    store(world, {"refactor": {"planner": entry(U)}, "docs/漢字": {"claude": entry(V)}})
    first = say(world, U, LONG, ANSWER)
    call = {
        "type": "tool_use",
        "id": "1",
        "name": "Bash",
        "input": {"command": "make \x1b[2J test"},
    }
    first.ask("Run the tests")
    first.write(first.assistant(first.leaf(), "tool_use", call))
    result = {"type": "tool_result", "tool_use_id": "1", "content": "\x1b[31mred\x9b"}
    first.write(first.user(first.leaf(), [result]))
    first.answer("They pass.")
    first.write(first.user(first.leaf(), "[Request interrupted by user]"))
    say(world, V, "In the docs, call it a Heron", "Yes")
    for session_id in (U, V):
        (path,) = world.home.glob(f".claude/projects/*/{session_id}.jsonl")
        at = datetime.fromtimestamp(DAYS, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        lines = path.read_text().replace('"timestamp":"2026', f'"timestamp":"{at}","was":"')
        path.write_text(lines)
    return world


def say(world: World, session_id: str, prompt: str, answer: str) -> Writer:
    path = world.transcript(session_id, Path("/home/ada/app"))
    path.write_bytes(b"")
    writer = Writer(path)
    writer.say(prompt, answer)
    return writer


def shown(world: World, *args: str, columns: int, rows: int = 60, **variables: str) -> screen.Shown:
    """A screen on which nothing of what was said does anything, with times in UTC."""
    found = screen.show(world, *args, columns=columns, rows=rows, TZ="UTC", **variables)
    assert found.exit_code == 0
    assert not any(evil in found.sent for evil in EVIL)
    assert {background for _, background in found.colours} == {"default"}
    return found


def at() -> str:
    return datetime.fromtimestamp(DAYS, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize("columns", SEARCHES)
def test_a_search(birds: World, columns: int) -> None:
    found = shown(birds, "search", "heron", columns=columns)
    assert found.text + "\n" == expected(SEARCHES[columns], columns)
    assert {colour for colour, _ in found.colours} == {"default", "red"}


@pytest.mark.parametrize("columns", READS)
def test_a_conversation(birds: World, columns: int) -> None:
    found = shown(birds, "read", "refactor", columns=columns)
    assert found.text + "\n" == expected(READS[columns], columns)
    assert {colour for colour, _ in found.colours} == {"default", "brown"}


@pytest.mark.parametrize("args", [("search", "heron", "--tools"), ("read", "refactor", "--tools")])
@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_without_colours_it_is_the_same_and_plain(
    birds: World, args: tuple[str, ...], columns: int
) -> None:
    plain = shown(birds, *args, columns=columns, NO_COLOR="1")
    assert b"\x1b" not in plain.sent
    assert plain.text == shown(birds, *args, columns=columns).text
    assert shown(birds, *args, columns=columns, TERM="dumb").sent == plain.sent


@pytest.mark.parametrize(
    "args", [("search", "red", "--tools"), ("read", "refactor", "--tools")], ids=" ".join
)
@pytest.mark.parametrize("how", [(), ("--json",)], ids=["plain", "json"])
def test_in_a_pipe_nothing_moves_a_cursor(
    birds: World, args: tuple[str, ...], how: tuple[str, ...]
) -> None:
    done = ask(birds, *args, *how)
    assert done.exit_code == 0
    assert not any(evil in done.stdout for evil in EVIL)
    if how:
        assert any("\x1b[31mred\x9b" in each["text"] for each in json.loads(done.stdout))


def test_what_does_not_fit_is_paged_with_its_colours(birds: World) -> None:
    less = '#!/bin/sh\necho "LESS is $LESS"\nexec /bin/cat\n'
    birds.path(write_program(birds.root / "pagers" / "less", less).parent)
    found = shown(birds, "read", "refactor", columns=80, rows=12)
    assert b"LESS is -FRX" in found.sent
    assert b"\x1b[1muser" in found.sent
    short = shown(birds, "read", "refactor", "--last", "1", columns=80, rows=12)
    assert b"LESS is" not in short.sent


def test_the_users_pager_is_asked(birds: World) -> None:
    birds.path("/usr/bin", "/bin")
    found = shown(birds, "read", "refactor", columns=80, rows=12, PAGER="head -n 1")
    assert found.lines == [f"user  {at()}"]


def test_a_pager_that_ends_early_ends_it(birds: World) -> None:
    say(birds, V, "a line\n" * 100_000, "OK")
    birds.path("/usr/bin", "/bin")
    found = shown(birds, "read", "docs/漢字", columns=80, rows=12, PAGER="head -n 2")
    assert found.lines[1:] == ["  a line"]


def expected(capture: str, columns: int) -> str:
    """A capture with the time of the world in it; the terminal itself breaks long lines."""
    lines = capture.replace("YYYY-MM-DD HH:MM:SS", at()).splitlines()
    return "".join(f"{piece}\n" for line in lines for piece in broken(line, columns))

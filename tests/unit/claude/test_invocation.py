"""Claude's command line, read as commander reads it."""

import os
import posix

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shim.base.session_key import SessionKey
from shim.call import plan
from shim.call.call import Call
from shim.claude import invocation
from shim.claude.cli_spec import FLAG, OPTIONAL, VALUE, VARIADIC, CliSpec
from shim.claude.transcripts import Transcript

SMALL = CliSpec("""
--print --print -
-p --print -
--verbose --verbose -
--model --model <value>
-m --model <value>
--resume --resume [value]
-r --resume [value]
--tools --tools <values...>
-t --tools <values...>
--x2 --x2 -
-x2 --x2 -
--session-id --session-id <value>
sync first
--sync first
mcp subcommand
update subcommand
""")
U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"

Options = list[tuple[str, str | None]]


def options_of(asked: invocation.Invocation) -> Options:
    return [(name, value) for name, value, *_ in asked.options]


@pytest.mark.parametrize(
    ("args", "options", "operands"),
    [
        ([], [], []),
        (["hi"], [], ["hi"]),
        (["-"], [], ["-"]),
        ([""], [], [""]),
        (["hi", "you"], [], ["hi", "you"]),
        # flags, before and after operands
        (["--print"], [("--print", None)], []),
        (["-p", "hi"], [("--print", None)], ["hi"]),
        (["hi", "-p"], [("--print", None)], ["hi"]),
        (["-p", "hi", "-p"], [("--print", None)] * 2, ["hi"]),
        # a value is the next argument, whatever it looks like
        (["--model", "opus", "hi"], [("--model", "opus")], ["hi"]),
        (["-m", "opus", "hi"], [("--model", "opus")], ["hi"]),
        (["--model", "--resume", "hi"], [("--model", "--resume")], ["hi"]),
        (["--model", "--", "hi"], [("--model", "--")], ["hi"]),
        (["--model", "-", "hi"], [("--model", "-")], ["hi"]),
        (["--model", "", "hi"], [("--model", "")], ["hi"]),
        (["--model", "mcp", "hi"], [("--model", "mcp")], ["hi"]),
        # with =
        (["--model=opus", "hi"], [("--model", "opus")], ["hi"]),
        (["--model=", "hi"], [("--model", "")], ["hi"]),
        (["--model=a=b", "hi"], [("--model", "a=b")], ["hi"]),
        (["--resume=x", "hi"], [("--resume", "x")], ["hi"]),
        (["--tools=a", "b"], [("--tools", "a")], ["b"]),
        # glued
        (["-mopus", "hi"], [("--model", "opus")], ["hi"]),
        (["-m=opus", "hi"], [("--model", "=opus")], ["hi"]),
        (["-rx", "hi"], [("--resume", "x")], ["hi"]),
        (["-ta", "b"], [("--tools", "a")], ["b"]),
        # clustered
        (["-pp"], [("--print", None)] * 2, []),
        (["-pm", "opus", "hi"], [("--print", None), ("--model", "opus")], ["hi"]),
        (["-pmopus", "hi"], [("--print", None), ("--model", "opus")], ["hi"]),
        (["-pr", "x", "hi"], [("--print", None), ("--resume", "x")], ["hi"]),
        (["-prx", "hi"], [("--print", None), ("--resume", "x")], ["hi"]),
        (["-pr", "-p"], [("--print", None), ("--resume", None), ("--print", None)], []),
        (["-pt", "a", "b"], [("--print", None), ("--tools", "a"), ("--tools", "b")], []),
        (["-p-verbose"], [("--print", None), ("--verbose", None)], []),
        (["-p-model=x"], [("--print", None), ("--model", "x")], []),
        # a spelling of several letters behind one dash
        (["-x2", "hi"], [("--x2", None)], ["hi"]),
        (["-px2", "hi"], [("--print", None), ("--x2", None)], ["hi"]),
        # optional values
        (["-r"], [("--resume", None)], []),
        (["--resume", "x", "hi"], [("--resume", "x")], ["hi"]),
        (["--resume", "-", "hi"], [("--resume", "-")], ["hi"]),
        (["--resume", "", "hi"], [("--resume", "")], ["hi"]),
        (["--resume", "-p", "hi"], [("--resume", None), ("--print", None)], ["hi"]),
        (["--resume", "-1", "hi"], [("--resume", None)], ["hi"]),
        (["--resume", "--", "hi"], [("--resume", None)], ["hi"]),
        # variadic options swallow what follows, up to the next option
        (["--tools", "a", "b", "hi"], [("--tools", text) for text in ("a", "b", "hi")], []),
        (["--tools", "-p", "a"], [("--tools", "-p"), ("--tools", "a")], []),
        (["--tools", "", "", "hi"], [("--tools", text) for text in ("", "", "hi")], []),
        (["--tools", "a", "-", "hi"], [("--tools", text) for text in ("a", "-", "hi")], []),
        (["--tools", "a", "-p", "hi"], [("--tools", "a"), ("--print", None)], ["hi"]),
        (["--tools", "a", "--", "hi"], [("--tools", "a")], ["hi"]),
        # -- ends the options
        (["--"], [], []),
        (["--", "-p", "--model"], [], ["-p", "--model"]),
        (["--", "--"], [], ["--"]),
        (["hi", "--", "-p"], [], ["hi", "-p"]),
    ],
)
def test_a_command_line_is_read(args: list[str], options: Options, operands: list[str]) -> None:
    asked = invocation.read(args, SMALL)
    assert (options_of(asked), asked.operands) == (options, operands)


class UnknownOption(Exception):
    """Commander ends the program with an error."""


def parse_options(args: list[str], spec: CliSpec) -> tuple[Options, list[str]]:
    """`parseOptions` of commander 13's lib/command.js, statement for statement."""
    options: Options = []
    operands: list[str] = []
    rest = list(args)
    active: str | None = None

    def maybe_option(arg: str) -> bool:
        return len(arg) > 1 and arg[0] == "-"

    while rest:
        arg = rest.pop(0)
        if arg == "--":
            operands += rest
            break
        if active and not maybe_option(arg):
            options.append((active, arg))
            continue
        active = None
        if maybe_option(arg) and (option := spec.option(arg)):
            name, takes = option
            if takes in (VALUE, VARIADIC):
                if not rest:
                    raise UnknownOption(f"{arg}: argument missing")
                options.append((name, rest.pop(0)))
            elif takes == OPTIONAL and rest and not maybe_option(rest[0]):
                options.append((name, rest.pop(0)))
            else:
                options.append((name, None))
            active = name if takes == VARIADIC else None
            continue
        if len(arg) > 2 and arg[0] == "-" and arg[1] != "-" and (option := spec.option(arg[:2])):
            name, takes = option
            if takes == FLAG:
                options.append((name, None))
                rest.insert(0, "-" + arg[2:])
            else:
                options.append((name, arg[2:]))
            continue
        if arg.startswith("--") and arg.find("=") > 2:
            spelling, _, value = arg.partition("=")
            option = spec.option(spelling)
            if option and option[1] != FLAG:
                options.append((option[0], value))
                continue
        if maybe_option(arg):
            raise UnknownOption(arg)
        operands.append(arg)
    return options, operands


words = st.one_of(
    st.sampled_from(
        [
            *("-", "--", "", "hi", "mcp", "update", "sync", "--sync", "-p", "-pp", "-m"),
            *("-r", "-t"),
            *("--print", "--verbose", "--model", "--resume", "--tools", "--x2", "-x2", "-x"),
            *("--model=x", "--model=", "--resume=--", "--tools=a", "--print=x", "--=x", "---"),
            *("-mx", "-pmx", "-prx", "-pr", "-pt", "-px2", "-p-", "-p-p", "-p--model", "-r-", "-1"),
            *("--session-id", f"--session-id={U}", U, "--session-id="),
        ]
    ),
    st.text("-pmrtx2=a ", max_size=5),
    st.text(max_size=4),
)
command_lines = st.lists(words, max_size=8)


@settings(max_examples=2000)
@given(command_lines)
@example(["-p-", "-r"])
@example(["-p-", "hi"])
@example(["-p--"])
@example(["--tools=a", "b", "--tools", "c", "d"])
@example(["-t", "-p", "mcp", "-p", "mcp"])
def test_any_command_line_that_commander_accepts_is_read_as_commander_does(args: list[str]) -> None:
    asked = invocation.read(args, SMALL)
    try:
        expected = parse_options(args, SMALL)
    except UnknownOption:
        return  # claude refuses it: it is enough that reading it does not fail
    assert (options_of(asked), asked.operands) == expected


@settings(max_examples=1000)
@given(command_lines)
@example(["--tools", "a", "--session-id", U, "hi"])
@example(["--tools", "-", f"--session-id={U}", "-", f"--session-id={U}"])
def test_the_callers_arguments_stay_unchanged_and_in_order_behind_our_flags(
    args: list[str],
) -> None:
    asked = invocation.read(args, SMALL)
    call = Call(SessionKey(b"r", b"a"), asked, U)
    call.transcript = Transcript(f"/projects/-work/{U}.jsonl", True, os.stat("/"))
    ours = plan.flags(call)
    args_of_claude = asked.with_flags(ours)
    if not asked.has("--session-id"):
        assert args_of_claude == ["--resume", U, *args]
    again = invocation.read(args_of_claude, SMALL)
    kept = [option for option in options_of(asked) if option[0] != "--session-id"]
    assert [option for option in options_of(again) if option != ("--resume", U)] == [
        option for option in kept if option != ("--resume", U)
    ]
    assert again.has("--resume")
    assert again.operands == asked.operands


@given(command_lines)
def test_reading_changes_nothing(args: list[str]) -> None:
    before = list(args)
    asked = invocation.read(args, SMALL)
    asked.with_flags(["--resume", U])
    assert args == before


@given(command_lines)
def test_each_option_says_where_it_stands(args: list[str]) -> None:
    for name, value, start, stop in invocation.read(args, SMALL).options:
        assert 0 <= start < stop <= min(len(args), start + 2)
        if value is not None:
            assert args[stop - 1].endswith(value), name


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["-p", "hi"], ["--ours", "-p", "hi"]),
        (["--session-id", U, "-p", "hi"], ["--ours", "-p", "hi"]),
        (["-p", "hi", "--session-id", U], ["-p", "hi", "--ours"]),
        (["-p", f"--session-id={U}", "hi"], ["-p", "--ours", "hi"]),
        (["--session-id=", "-p", "hi"], ["--ours", "-p", "hi"]),
        (["--session-id", U, "hi", f"--session-id={U}"], ["--ours", "hi", "--ours"]),
        (["--model", "--session-id", "hi"], ["--ours", "--model", "--session-id", "hi"]),
        (["--", "--session-id", U], ["--ours", "--", "--session-id", U]),
        (["--tools", "a", "--session-id", U, "hi"], ["--tools", "a", "--ours", "hi"]),
    ],
)
def test_our_flags_go_first_or_where_the_caller_named_the_conversation(
    args: list[str], expected: list[str]
) -> None:
    assert invocation.read(args, SMALL).with_flags(["--ours"]) == expected


@pytest.mark.parametrize(
    ("args", "value"),
    [
        ([], None),
        (["--model", "a"], "a"),
        (["--model", "a", "-m", "b"], "b"),
        (["-ma", "--model="], ""),
        (["--tools", "a", "b"], None),
    ],
)
def test_of_a_repeated_option_the_last_value_counts(args: list[str], value: str | None) -> None:
    assert invocation.read(args, SMALL).value("--model") == value


@pytest.mark.parametrize(
    ("args", "subcommand"),
    [
        ([], None),
        (["hi"], None),
        (["mcp"], "mcp"),
        (["mcp", "list"], "mcp"),
        (["--verbose", "mcp"], "mcp"),
        (["--model", "x", "mcp"], "mcp"),
        (["--model", "mcp", "hi"], None),
        (["--model=mcp"], None),
        (["--resume", "mcp"], None),
        (["--resume", "x", "mcp"], "mcp"),
        (["--tools", "mcp", "update"], None),
        (["--tools", "a", "--verbose", "mcp"], "mcp"),
        (["--", "mcp"], "mcp"),
        (["hi", "mcp"], None),
        (["hi", "--", "mcp"], None),
        (["-", "mcp"], None),
        (["", "mcp"], None),
        (["please update"], None),
        (["MCP"], None),
        # claude has no subcommands where `-p` or `--print` stands by itself (2.1.330)
        (["-p", "mcp"], None),
        (["--print", "update"], None),
        (["mcp", "-p"], None),
        (["-p", "--", "mcp"], None),
        (["--verbose", "mcp", "list", "--print"], None),
        (["-pp", "mcp"], "mcp"),
        (["-pmx", "mcp"], "mcp"),
        (["--model", "-p", "mcp"], "mcp"),
        (["mcp", "--", "-p"], "mcp"),
        # what counts in first place only, and there whatever follows
        (["sync"], "sync"),
        (["sync", "-p"], "sync"),
        (["--sync", "hi"], "--sync"),
        (["-p", "sync"], None),
        (["--verbose", "sync"], None),
        (["--", "sync"], None),
    ],
)
def test_a_subcommand_is_distinguished_from_a_prompt(
    args: list[str], subcommand: str | None
) -> None:
    assert invocation.read(args, SMALL).subcommand == subcommand


@pytest.mark.parametrize(
    ("args", "on_a_terminal", "expected"),
    [
        ([], True, True),
        (["hi"], True, True),
        (["-p", "hi"], True, False),
        (["-pv"], True, False),
        ([], False, False),
        (["-p", "hi"], False, False),
        (["-p", "--input-format", "stream-json"], True, True),
        (["--input-format=stream-json"], False, True),
        (["--input-format", "text"], False, False),
        (["--input-format", "stream-json", "--input-format", "text"], False, False),
        (["--model", "-p"], True, True),
        (["--", "-p"], True, True),
    ],
)
def test_a_run_is_long_running_where_it_streams_or_has_a_terminal(
    monkeypatch: pytest.MonkeyPatch, args: list[str], on_a_terminal: bool, expected: bool
) -> None:
    monkeypatch.setattr(posix, "isatty", lambda descriptor: descriptor == 1 and on_a_terminal)
    assert invocation.read(args).is_long_running is expected

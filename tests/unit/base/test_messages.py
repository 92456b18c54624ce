"""What a person is told, and the variables that ask for it."""

import ast
import errno
import io
import os
import posix
import re
import sys
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shim
from shim.base import environment, messages
from shim.base.messages import explain, warn

GREPPED_FOR = ["Session ID", "already in use", "not found", "invalid", "No conversation"]


def set_bytes(monkeypatch: pytest.MonkeyPatch, name: str, value: bytes | None) -> None:
    """Set a variable where the shim looks: in `posix.environ`, which `os` copies at start-up."""
    if value is None:
        monkeypatch.delitem(posix.environ, name.encode(), raising=False)
    else:
        monkeypatch.setitem(posix.environ, name.encode(), value)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("a warning", "claude-shim: a warning\n"),
        ("two\nlines", "claude-shim: two lines\n"),
        ("a\r\nb\rc\x0bd\x0ce\u2028f\x85g", "claude-shim: a b c d e f g\n"),
        ("ends\n", "claude-shim: ends\n"),
        ("é 🙂", "claude-shim: é 🙂\n"),
        ("a\x1b]0;title\x07b", "claude-shim: a\\x1b]0;title\\x07b\n"),
        ("\x9b31m and \u202eright", "claude-shim: \\x9b31m and \\u202eright\n"),
        ("", "claude-shim: \n"),
    ],
)
def test_a_warning_is_one_line(capsys: pytest.CaptureFixture[str], message: str, line: str) -> None:
    warn(message)
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("is_claudes", [True, False])
@given(name=st.text())
def test_no_name_moves_the_cursor_of_a_terminal(is_claudes: bool, name: str) -> None:
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", written)
        patch.setattr(messages, "is_claudes_stderr", is_claudes)
        warn(f"a file {name} and\x1b[2J more")
        line_written = written.getvalue()
    assert line_written.endswith("\n")
    assert not any(unicodedata.category(char) == "Cc" for char in line_written[:-1])


def test_without_stderr_a_warning_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    warn("nobody hears this")


def test_a_closed_stderr_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    warn("nobody hears this")


class FullDisk(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_stderr_on_a_full_disk_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", FullDisk())
    warn("nobody hears this")


def test_a_name_that_is_not_utf8_can_be_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    # As CPython opens stderr.
    stderr = io.TextIOWrapper(written, "ascii", "backslashreplace")
    monkeypatch.setattr(sys, "stderr", stderr)
    warn("caf\udce9 é")
    assert written.getvalue() == b"claude-shim: caf\\udce9 \\xe9\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (b"", ""),
        (b"0", ""),
        (b"1", "claude-shim: debug: why\n"),
        (b"yes", "claude-shim: debug: why\n"),
    ],
)
def test_decisions_are_explained_where_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: bytes | None,
    expected: str,
) -> None:
    set_bytes(monkeypatch, "NSED_SHIM_DEBUG", value)
    explain("why")
    assert capsys.readouterr() == ("", expected)


def test_no_message_has_a_phrase_that_callers_look_for_in_claudes_own_errors() -> None:
    for module in Path(shim.__file__).parent.rglob("*.py"):
        for node in texts(ast.parse(module.read_text())):
            for phrase in GREPPED_FOR if module != Path(messages.__file__) else ():
                assert phrase not in node.value, f"{module}:{node.lineno}"


U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (f"{os.strerror(errno.EDQUOT)}", "Disk … exceeded"),
        ("room '429' is busy", "room '…' is busy"),
        ("room 'Rate Limit' is busy", "room '…' is busy"),
        (f"/home/me/{U}.jsonl holds nothing", "/home/me/….jsonl holds nothing"),
        ("room 'wait 30' or 'retry in  5'", "room '…30' or '…5'"),
        ("it was Not Found, Invalid and already in\nuse", "it was …, … and …"),
        ("no conversation has that session ID", "… has that …"),
    ],
)
def test_what_a_caller_could_take_for_something_else_is_left_out_of_the_finished_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, line: str
) -> None:
    warn(message)
    assert capsys.readouterr().err == f"claude-shim: {line}\n"
    set_bytes(monkeypatch, "NSED_SHIM_DEBUG", b"1")
    warn(message)
    assert "…" not in capsys.readouterr().err


@given(st.text())
def test_no_name_gets_past(name: str) -> None:
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", written)
        warn(f"room {name!r}: Quota {name} 4 2 9 overloaded, usage limit, 429{name}")
    assert written.getvalue().count("\n") == 1
    assert not re.search(messages._MISREAD, written.getvalue(), re.IGNORECASE)


def test_a_claude_is_named_by_its_pid_only_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    assert messages.process(4711) == "another claude"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert messages.process(4711) == "claude 4711"
    assert messages.process(0) == "another claude"


def texts(module: ast.Module) -> list[ast.Constant]:
    """Every string of a module but its docstrings and others that stand by themselves."""
    alone = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    return [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    ]


class TestTheEnvironment:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, ""),
            (b"", ""),
            (b" x ", " x "),
            (b"a=b", "a=b"),
            (b"caf\xe9", "caf\udce9"),
        ],
    )
    def test_a_variable_is_text_and_empty_where_unset(
        self, monkeypatch: pytest.MonkeyPatch, value: bytes | None, expected: str
    ) -> None:
        set_bytes(monkeypatch, "NSED_TEST", value)
        assert environment.get("NSED_TEST") == expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(None, False), (b"", False), (b"0", False), (b"1", True), (b"00", True), (b"no", True)],
    )
    def test_anything_but_empty_and_zero_is_on(
        self, monkeypatch: pytest.MonkeyPatch, value: bytes | None, expected: bool
    ) -> None:
        set_bytes(monkeypatch, "NSED_TEST", value)
        assert environment.is_on("NSED_TEST") is expected

    @pytest.mark.parametrize("value", ["text", b"bytes", "caf\udce9", b"\xff", ""])
    def test_what_is_put_is_got(self, monkeypatch: pytest.MonkeyPatch, value: str | bytes) -> None:
        set_bytes(monkeypatch, "NSED_TEST", None)
        environment.put("NSED_TEST", value)
        raw = posix.environ[b"NSED_TEST"]
        assert raw == (
            value if isinstance(value, bytes) else value.encode(errors="surrogateescape")
        )
        assert environment.get("NSED_TEST") == raw.decode(errors="surrogateescape")
        environment.put("NSED_TEST", None)
        assert b"NSED_TEST" not in posix.environ

    def test_unsetting_what_is_unset_does_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_bytes(monkeypatch, "NSED_TEST", None)
        environment.put("NSED_TEST", None)
        assert environment.get("NSED_TEST") == ""

    def test_a_path_is_in_the_home_directory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        set_bytes(monkeypatch, "HOME", b"/home/m\xe9")
        assert environment.in_home(".claude/x") == "/home/m\udce9/.claude/x"

    @pytest.mark.parametrize("value", [None, b""])
    def test_without_home_the_system_knows_the_home_directory(
        self, monkeypatch: pytest.MonkeyPatch, value: bytes | None
    ) -> None:
        set_bytes(monkeypatch, "HOME", value)
        monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_dir="/from/passwd"))
        assert environment.in_home("x") == "/from/passwd/x"

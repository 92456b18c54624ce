"""What real claude writes is found and read: tools, images, thoughts, compactions, odd bytes."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.messages_api import Reply

if TYPE_CHECKING:
    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

ALLOWED = "--dangerously-skip-permissions"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
EVIL = "\x1b]0;title\x07\x1b[31mred \x9b5m\u202eltr"
MEGABYTE = "head -c 1000000 /dev/zero | tr '\\0' h; printf '\\033[32m the heronry\\033[0m'"
COLOURS = re.compile(r"\x1b\[\d*(?:;\d+)*m")


@pytest.fixture
def talked(any_claude: World, api: MessagesApi) -> World:
    """A room in which all that a reader may meet was said."""
    picture = any_claude.work / "pixel.png"
    picture.write_bytes(base64.b64decode(PIXEL))
    api.on("CRITICAL: Respond with TEXT ONLY", Reply(text="a summary of birds"))
    api.on("Remember", Reply(text="OK"))
    api.on("and crane?", Reply(text="yes"))
    api.on("look", Reply(tool=("Read", {"file_path": str(picture)}), after="a pixel"))
    bash = {"command": MEGABYTE, "description": "much"}
    api.on("much", Reply(tool=("Bash", bash), after="that was much"))
    api.on("think", Reply(thought="a secret heronry", text="thought so"))
    api.on("evil", Reply(text=EVIL))
    stream = any_claude.stream(ALLOWED, room="birds")
    for prompt in ("Remember the Heron", "look", "much", "think", "evil"):
        stream.ask(prompt)
    stream.send("/compact")
    stream.next_result()
    stream.ask("and crane?")
    assert stream.close() == 0
    return any_claude


def messages(world: World, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(world.claude_shim(*args, "--json"))
    return found


def test_a_conversation_is_read_as_it_was_said(talked: World) -> None:
    shown = [(it["who"], it["text"]) for it in messages(talked, "read", "birds")]
    said = [(who, text) for who, text in shown if who in ("user", "claude")]
    assert [text for who, text in said if who == "user"] == [
        *("Remember the Heron", "look", "much", "think", "evil", "and crane?")
    ]
    assert [text for who, text in said if who == "claude"][1:5] == [
        *("a pixel", "that was much", "thought so", EVIL)
    ]
    tools = [text for who, text in shown if who == "tool"]
    assert [text.split()[0] for text in tools] == ["Read", "Bash"]
    assert [text for who, text in shown if who == "note" and text.startswith("compacted")]
    whole = messages(talked, "read", "birds", "--tools")
    assert any("[image]" in it["text"] for it in whole if it["who"] == "result")
    assert any("hhhhhhhh" in it["text"] for it in whole if it["who"] == "result")
    assert "a secret heronry" not in json.dumps(whole)


def test_what_was_said_is_found_and_what_was_thought_is_not(talked: World) -> None:
    (hit,) = messages(talked, "search", "the heron")
    assert (hit["who"], hit["text"]) == ("user", "Remember the Heron")
    assert messages(talked, "search", "pixel")[-1]["text"] == "a pixel"
    called = messages(talked, "search", "heronry", "--tools")
    assert {it["who"] for it in called} >= {"tool"}
    assert not any("secret" in it["text"] for it in called)


def test_the_same_is_found_in_what_is_retained(talked: World) -> None:
    (transcript,) = talked.transcripts_of("birds")
    with transcript.open("ab") as file:
        file.write(b'\0\0\0\0{"type":"user","mess')
    before = messages(talked, "read", "birds", "--tools")
    kept = talked.store / "kept" / transcript.name
    kept.parent.mkdir(exist_ok=True)
    kept.unlink(missing_ok=True)
    subprocess.run(["gzip", transcript], check=True)
    transcript.with_suffix(".jsonl.gz").rename(f"{kept}.gz")
    assert messages(talked, "read", "birds", "--tools") == before
    (hit,) = messages(talked, "search", "the heron")
    assert hit["transcript"] == f"{kept}.gz"


@pytest.mark.parametrize("args", [("read", "birds", "--tools"), ("search", "ltr", "--tools")])
def test_nothing_that_was_said_moves_a_cursor(talked: World, args: tuple[str, ...]) -> None:
    shown = talked.claude_shim(*args, env={"FORCE_COLOR": "1"})
    assert "\\x1b]0;title\\x07" in shown
    rest = COLOURS.sub("", shown.replace("\n", "").replace("\t", ""))
    assert rest.isprintable(), re.findall(r"[^ -~]+", rest)

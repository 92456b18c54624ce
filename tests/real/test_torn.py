"""A line that a killed claude left unfinished takes nothing with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.real_claude import World


def test_what_is_said_after_a_torn_line_is_in_the_conversation(any_claude: World) -> None:
    # 2.1.197 glues to it what it writes next, which is no message; the others end it first.
    any_claude.ask("one", room="refactor")
    (transcript,) = any_claude.transcripts(any_claude.mapping("refactor"))
    with transcript.open("ab") as file:
        file.write(b'{"parentUuid":"9e1cf7a4-0000-4000-8000-000000000000","isSidechain":fal')

    terminal = any_claude.terminal(room="refactor")
    terminal.say("two")
    terminal.wait_for("heard: two")
    terminal.exit()
    assert any_claude.ask("three", room="refactor") == "heard: three | before: one ; two"

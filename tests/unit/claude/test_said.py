"""What a reader of a conversation is shown of an entry."""

from __future__ import annotations

import pytest

from shim.claude import notice, said
from shim.claude.said import Said

IDS = ["6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11", "7f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c12"]


@pytest.mark.parametrize(
    ("ids", "turns"), [(IDS[:1], "1 turn"), (IDS, "2 turns")], ids=["one", "two"]
)
def test_a_notice_is_shown_with_how_many_turns_it_has(ids: list[str], turns: str) -> None:
    text = "\n".join([f"<{notice.TAG}>", *(notice.heading(it, 'by="a bot"') for it in ids)])
    entry = {
        "type": "attachment",
        "attachment": {"type": "hook_additional_context", "content": [text]},
    }
    expected = f"notified of {turns} that others had in this room"
    assert said.in_full(entry, with_tools=False) == [Said(said.NOTE, expected)]


def test_context_of_another_hook_is_not_shown() -> None:
    entry = {"type": "attachment", "attachment": {"type": "hook_additional_context", "content": []}}
    assert said.in_full(entry, with_tools=False) == []

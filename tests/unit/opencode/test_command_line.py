"""The OpenCode conversation that an ancestor's command line names."""

import pytest

from shim.opencode import command_line

NPM = "/usr/lib/node_modules/opencode-ai/bin/opencode.exe"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["opencode", "run", "-s", "ses_1", "hi"], (b"oc-ses_1", b"")),
        (["opencode", "--session", "ses_1"], (b"oc-ses_1", b"")),
        (["/opt/opencode", "--session=ses_1", "--agent=plan"], (b"oc-ses_1", b"plan")),
        (["opencode", "-s=ses_1", "--agent", "plan"], (b"oc-ses_1", b"plan")),
        (["opencode", "run", "--agent", "plan", "-s", "ses_1"], (b"oc-ses_1", b"plan")),
        # npm's own, and a script of that name
        ([NPM, "run", "-s", "ses_1"], (b"oc-ses_1", b"")),
        (["node", "/usr/bin/opencode", "run", "-s", "ses_1"], (b"oc-ses_1", b"")),
        # an empty agent is none
        (["opencode", "-s", "ses_1", "--agent", ""], (b"oc-ses_1", b"")),
        (["opencode", "-s", "ses_1", "--agent"], (b"oc-ses_1", b"")),
        # no session
        (["opencode"], None),
        (["opencode", "run", "hi"], None),
        (["opencode", "run", "--continue", "hi"], None),
        (["opencode", "-s"], None),
        (["opencode", "-s", ""], None),
        (["opencode", "-s", "--agent", "plan"], None),
        # words of the prompt
        (["opencode", "run", "say -s ses_1"], None),
        (["opencode", "run", "--", "-s", "ses_1"], None),
        # not the session itself, but a copy of it
        (["opencode", "run", "-s", "ses_1", "--fork"], None),
        # another program
        (["vim", "-s", "ses_1"], None),
        (["vim", "x", "opencode", "-s", "ses_1"], None),
        ([], None),
    ],
)
def test_an_opencode_command_line_names_a_room_and_perhaps_an_agent(
    words: list[str], expected: tuple[bytes, bytes] | None
) -> None:
    assert command_line.named_by(words) == expected

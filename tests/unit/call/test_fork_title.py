"""By which name a person tells a fork from its conversation."""

import json
from pathlib import Path

import pytest

from shim.call import fork_title

FORK = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Split the parser", "Split the parser (fork 6f2a)"),
        ("Split the parser (copy e02e)", "Split the parser (fork 6f2a)"),
        ("Split\nthe \x1b[1mlot", "Split the \\x1b[1mlot (fork 6f2a)"),
        ("Split the parser into one module a token", "Split the parser into… (fork 6f2a)"),
    ],
    ids=["what it is about", "a fork of a fork", "what does not show", "cut"],
)
def test_a_fork_has_the_name_of_its_parent(tmp_path: Path, said: str, name: str) -> None:
    transcript = tmp_path / "t.jsonl"
    message = {"role": "user", "content": said}
    transcript.write_text(json.dumps({"type": "user", "message": message}) + "\n")
    assert fork_title.title(str(transcript), FORK) == name


def test_a_fork_of_what_says_nothing_is_named_a_fork(tmp_path: Path) -> None:
    assert fork_title.title(str(tmp_path / "gone.jsonl"), FORK) == "(fork 6f2a)"

"""Whether a conversation goes on in another working tree than it lived in."""

import json
from pathlib import Path

import pytest

from shim.call import worktrees


def transcript(root: Path, directory: Path) -> str:
    path = root / "t.jsonl"
    message = {"role": "user", "content": "hi"}
    path.write_text(json.dumps({"type": "user", "cwd": str(directory), "message": message}) + "\n")
    return str(path)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    (tmp_path / "repository" / "src").mkdir()
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    (worktree / ".git").write_text("gitdir: ../repository/.git/worktrees/worktree")
    (tmp_path / "no tree").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("lived_in", "here", "is_other"),
    [
        ("repository", "repository", False),
        ("repository", "repository/src", False),
        ("repository/src", "repository", False),
        ("repository", "worktree", True),
        ("worktree", "repository/src", True),
        ("repository", "no tree", True),
        ("no tree", "no tree", False),
        ("a directory that is gone", "repository", True),
    ],
)
def test_a_worktree_is_another_tree_than_its_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch, lived_in: str, here: str, is_other: bool
) -> None:
    monkeypatch.chdir(repository / here)
    found = worktrees.other_than_here(transcript(repository, repository / lived_in))
    assert found == (str(repository / lived_in) if is_other else None)


def test_where_nobody_can_tell_nothing_is_said(tmp_path: Path) -> None:
    assert worktrees.other_than_here(str(tmp_path / "gone.jsonl")) is None
    (tmp_path / "odd.jsonl").write_text("no JSON")
    assert worktrees.other_than_here(str(tmp_path / "odd.jsonl")) is None

"""Running a program as claude, once, to see what comes of it."""

import os
import signal
from pathlib import Path

from shim.install.trial import try_out


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_child_that_claude_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! >{tmp_path}/child; echo 2.1.330"
    trial = try_out(program(tmp_path / "claude", script))
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert (trial.version, trial.complaint) == ("2.1.330", "")


def test_one_that_prints_without_end_is_no_claude(tmp_path: Path) -> None:
    trial = try_out(program(tmp_path / "claude", "exec yes 2.1.330"))
    assert trial.complaint == "it says no version: it prints more than 1 MiB"

"""Jobs of GitHub Actions that the README and the manual show, run as a runner runs their steps.

Only `run` steps do something. A step is a file that a shell runs with `-e`: bash on a runner, sh in
a container. It has the job's environment, and what the steps before it wrote into `$GITHUB_PATH` is
first on its PATH, the last line foremost.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from tests.support.console import README
from tests.support.recorder import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^- (.*?)(?=^- |\Z)", re.MULTILINE | re.DOTALL)
_SCRIPT = re.compile(r"^run: \|\n((?:  .*\n|\n)+)", re.MULTILINE)
_ENVIRONMENT = re.compile(r"^env:\n((?:  .*\n)+)", re.MULTILINE)
_EXPRESSION = re.compile(r"\$\{\{ (\S+) \}\}")
_FACTS = {
    "github.ref_name": "feature/heron",
    "github.repository": "ada/app",
    "secrets.ANTHROPIC_API_KEY": "sk-none",
    "secrets.NSED_FLEET_URL": "",
}


class Step(NamedTuple):
    """A step that runs a script, with the environment that it adds."""

    script: str
    environment: dict[str, str]


class Job(NamedTuple):
    """The steps of a job, and the page that shows them."""

    page: str
    steps: list[Step]


def jobs() -> list[Job]:
    """Every job that the README and the pages show: each `yaml` block that has `run` steps."""
    pages = (README, *sorted((README.parent / "shim" / "help").glob("*.md")))
    found = []
    for page in pages:
        for block in _BLOCK.findall(page.read_text("utf-8")):
            steps = [_step(textwrap.dedent("  " + text)) for text in _STEP.findall(block)]
            if any(steps):
                found.append(Job(page.stem, [step for step in steps if step]))
    return found


def run(
    job: Job, shell: str, work: Path, path: list[Path], environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run a job's steps until one fails; its exit code, and all that they printed on stderr."""
    added = work.with_name("github-path")
    added.touch()
    errors = ""
    for step in job.steps:
        script = work.with_name("step.sh")
        script.write_text(step.script)
        first = reversed(added.read_text().splitlines())
        done = subprocess.run(
            [shell, "-e", script],
            env={
                **environment,
                **step.environment,
                "PATH": ":".join([*first, *map(str, path), "/usr/bin", "/bin"]),
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_PATH": str(added),
                "GITHUB_WORKSPACE": str(work),
            },
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
        )
        errors += done.stderr
        if done.returncode:
            return done.returncode, errors
    return 0, errors


def _step(text: str) -> Step | None:
    script = _SCRIPT.search(text)
    if script is None:
        return None
    environment = {}
    if given := _ENVIRONMENT.search(text):
        for line in given[1].splitlines():
            name, _, value = line.strip().partition(": ")
            environment[name] = _EXPRESSION.sub(lambda match: _FACTS[match[1]], value)
    return Step(textwrap.dedent(script[1]), environment)

"""The jobs for CI of the README and the manual, run as a runner runs them."""

import os
import shutil

import pytest

from tests.support import console, workflow
from tests.support.recorder import World, write_program
from tests.support.workflow import Job

JOBS = workflow.jobs()
AGENTS = [job for job in JOBS if "for agent in" in job.steps[-1].script]
CACHED = (".nsed/sessions.json", ".nsed/history.jsonl", ".claude/projects")
# What installs, in place of what takes a network: `claude-shim` is put where it would be.
INSTALLS = """\
#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin"; ln -s "$TOOLS/pip" "$TOOLS/claude-shim" "$3/bin" ;;
esac
"""


class Runner:
    """A machine of GitHub's, or a container on it, where a job is root and its shell is sh."""

    def __init__(self, world: World, shell: str) -> None:
        console.set_up(world)
        self.world = world
        self.shell = shell
        self.tools = world.home.parent / "tools"
        shutil.move(world.home / ".local" / "bin", self.tools)
        for name in ("npm", "pipx", "pip", "apt-get", "python3"):
            write_program(self.tools / name, INSTALLS)
        if shell == "sh":  # HOME is the runner's
            owner = 1001 if os.geteuid() == 0 else os.geteuid()
            os.chown(world.home, owner, -1)

    def run(self, job: Job) -> tuple[int, str]:
        environment = {"HOME": str(self.world.home), "TOOLS": str(self.tools)}
        opt = str(self.world.root / "opt")
        steps = [it._replace(script=it.script.replace("/opt", opt)) for it in job.steps]
        return workflow.run(
            job._replace(steps=steps), self.shell, self.world.directory, [self.tools], environment
        )

    def begin_anew(self) -> None:
        """The machine of the next job, which has nothing but what was cached."""
        before = self.world.home.rename(self.world.home.with_name("before"))
        for name in filter(lambda name: (before / name).exists(), CACHED):
            to = self.world.home / name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(before / name, to)
        shutil.rmtree(self.world.root / "opt", ignore_errors=True)
        self.world.directory.mkdir()


@pytest.fixture(params=AGENTS, ids=[job.page for job in AGENTS])
def job(request: pytest.FixtureRequest) -> Job:
    found: Job = request.param
    return found


@pytest.fixture
def runner(world: World, job: Job) -> Runner:
    return Runner(world, "sh" if job.page == "containers" else "bash")


def test_the_next_job_of_a_branch_resumes_both_agents(runner: Runner, job: Job) -> None:
    assert runner.run(job) == (0, "")
    first = runner.world.mappings
    runner.begin_anew()
    assert runner.run(job) == (0, "")

    assert list(first) == ["feature/heron"]
    assert sorted(first["feature/heron"]) == ["reviewer", "tester"]
    assert runner.world.mappings == first
    transcripts = list((runner.world.home / ".claude" / "projects").glob("*/*.jsonl"))
    assert [it.read_text().count('"type":"user"') for it in transcripts] == [2, 2]


@pytest.mark.parametrize("fails", ["reviewer", "tester"])
def test_an_agent_that_fails_fails_the_job_and_the_other_one_answers(
    runner: Runner, job: Job, fails: str
) -> None:
    claude = runner.tools / "claude"
    real = claude.rename(claude.with_name("claude-real"))
    fail = f'[ "$NSED_AGENT_NAME" != {fails} ] || exit 3'
    write_program(claude, f'#!/bin/sh\n{fail}\nexec {real} "$@"\n')

    code, _ = runner.run(job)

    assert code == 1
    other = "tester" if fails == "reviewer" else "reviewer"
    assert sorted(runner.world.mappings["feature/heron"]) == ["reviewer", "tester"]
    [transcript] = (runner.world.home / ".claude" / "projects").glob("*/*.jsonl")
    assert transcript.stem == runner.world.mappings["feature/heron"][other]


def test_in_a_fleet_a_failing_call_stops_the_sync_daemon_and_fails_the_job(world: World) -> None:
    [job] = [job for job in JOBS if job not in AGENTS]
    runner = Runner(world, "bash")
    shim = runner.tools / "claude-shim"
    real = shim.rename(shim.with_name("claude-shim-real"))
    said = runner.tools / "said"
    write_program(shim, f'#!/bin/sh\necho "$*" >>{said}\n[ "$1" = fleet ] || exec {real} "$@"\n')
    assert runner.run(job) == (0, "")
    write_program(runner.tools / "claude", '#!/bin/sh\n[ "$1" = --version ] || exit 3\n')

    assert runner.run(job)[0] == 3
    assert said.read_text().splitlines() == ["install", "fleet stop"] * 2


def test_every_job_that_is_shown_is_run_here() -> None:
    assert [job.page for job in JOBS] == ["README", "containers", "containers"]

"""`claude-shim install` and `uninstall`, and a launcher whose Python or package is gone."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import shim
from tests.support.recorder import Run, World, derived, write_program

PACKAGE = Path(shim.__file__).parent
FOUND = [b"--session-id", derived("r").encode(), b"-p"]
FOREIGN = "#!/bin/sh\necho foreign\n"


def claude_shim(world: World, *args: str, **env: str) -> Run:
    """Run `claude-shim`, as its console script does."""
    program = "from shim.commands.__main__ import main; main()"
    env["PYTHONPATH"] = str(PACKAGE.parent)
    return world.run("-c", program, *args, program=Path(sys.executable), env=env)


@pytest.fixture
def bin_dir(world: World) -> Path:
    return world.root / "bin"


# Installing


def test_install_writes_a_launcher_that_runs_claude(world: World, bin_dir: Path) -> None:
    run = claude_shim(world, "install", "--bin-dir", str(bin_dir))

    assert run.exit_code == 0
    assert str(bin_dir / "claude") in run.stdout.decode()
    assert str(world.claude.path) in run.stdout.decode()
    assert (bin_dir / "claude").stat().st_mode & 0o777 == 0o755
    world.path(bin_dir, world.claude.path.parent)
    call = world.call("-p", program=bin_dir / "claude", env={"NSED_ROOM_ID": "r"})
    assert call.args == FOUND


@pytest.mark.parametrize(
    "env", [{}, {"NSED_SESSION_DIR": "{home}/elsewhere"}], ids=["home", "named"]
)
def test_the_launcher_is_installed_beside_the_store_by_default(
    world: World, env: dict[str, str]
) -> None:
    env = {name: value.format(home=world.home) for name, value in env.items()}
    claude_shim(world, "install", **env)
    assert Path(env.get("NSED_SESSION_DIR", world.home / ".nsed"), "bin", "claude").exists()


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("name", ["bin", "it's a $HOME `bin`"])
def test_the_line_it_prints_puts_the_launcher_first(world: World, shell: str, name: str) -> None:
    bin_dir = world.root / name
    run = claude_shim(world, "install", "--bin-dir", str(bin_dir), SHELL=f"/bin/{shell}")
    line = run.stdout.decode().splitlines()[-1]

    shown = world.run("-c", f"{line}\ncommand -v claude", program=Path(shutil.which(shell) or ""))

    assert shown.stdout.decode() == f"{bin_dir}/claude\n"


@pytest.mark.parametrize("shell", ["/bin/bash", "/usr/bin/zsh", ""])
def test_bash_and_zsh_get_a_line_that_exports_path(world: World, bin_dir: Path, shell: str) -> None:
    run = claude_shim(world, "install", "--bin-dir", str(bin_dir), SHELL=shell)
    assert run.stdout.decode().splitlines()[-1] == f"  export PATH={bin_dir}:$PATH"


def test_fish_gets_a_line_in_its_own_syntax(world: World, bin_dir: Path) -> None:
    run = claude_shim(world, "install", "--bin-dir", str(bin_dir), SHELL="/usr/bin/fish")
    assert run.stdout.decode().splitlines()[-1] == f"  fish_add_path --move --path {bin_dir}"


def test_a_launcher_that_is_first_on_path_needs_no_line(world: World, bin_dir: Path) -> None:
    world.path(bin_dir, world.claude.path.parent)
    run = claude_shim(world, "install", "--bin-dir", str(bin_dir))
    assert "nothing more to do" in run.stdout.decode()
    assert "export" not in run.stdout.decode()


OLD_LAUNCHER = "#!/nowhere/python3 -IS\n# claude-shim launcher: made by `claude-shim install`.\n"


def test_a_second_install_replaces_the_launcher_at_once(world: World, bin_dir: Path) -> None:
    launcher = write_program(bin_dir / "claude", OLD_LAUNCHER)
    with open(launcher) as opened:
        run = claude_shim(world, "install", "--bin-dir", str(bin_dir))

        assert run.exit_code == 0
        assert opened.read() == OLD_LAUNCHER  # replaced, not rewritten
    content, names = launcher.read_bytes(), sorted(bin_dir.iterdir())
    claude_shim(world, "install", "--bin-dir", str(bin_dir))
    assert launcher.read_bytes() == content
    assert sorted(bin_dir.iterdir()) == names
    world.path(bin_dir, world.claude.path.parent)
    assert world.call("-p", program=launcher, env={"NSED_ROOM_ID": "r"}).args == FOUND


@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_what_stands_beside_it_is_for_all_to_read_and_nobody_to_write(
    world: World, bin_dir: Path, umask: int
) -> None:
    before = os.umask(umask)
    try:
        claude_shim(world, "install", "--bin-dir", str(bin_dir))
    finally:
        os.umask(before)
    for name in (".claude-shim", ".claude-shim-program.py", ".claude-shim-modules"):
        assert (bin_dir / name).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["claude", ".claude-shim", ".claude-shim-plugin/hooks/hooks.json"])
def test_what_others_put_in_its_way_is_not_written_to(
    world: World, bin_dir: Path, name: str
) -> None:
    """A directory that others can write to, as /usr/local/bin is on some systems."""
    theirs = world.root / "theirs"
    theirs.write_text(FOREIGN)
    in_the_way = bin_dir / f"{name}.new"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.symlink_to(theirs)

    run = claude_shim(world, "install", "--bin-dir", str(bin_dir))

    assert run.exit_code == 0
    assert theirs.read_text() == FOREIGN
    assert not (bin_dir / name).is_symlink()


def test_install_overwrites_nothing_that_is_not_ours(world: World, bin_dir: Path) -> None:
    foreign = write_program(bin_dir / "claude", FOREIGN)

    run = claude_shim(world, "install", "--bin-dir", str(bin_dir))

    assert run.exit_code != 0
    assert str(foreign) in run.lines[-1]
    assert foreign.read_text() == FOREIGN


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("nowhere", path)])
def test_install_replaces_nothing_that_is_no_file(
    world: World, bin_dir: Path, make: Callable[[Path], None]
) -> None:
    bin_dir.mkdir()
    make(bin_dir / "claude")
    before = (bin_dir / "claude").lstat()

    run = claude_shim(world, "install", "--bin-dir", str(bin_dir))

    assert run.exit_code != 0
    assert os.path.samestat((bin_dir / "claude").lstat(), before)


def test_install_says_in_one_line_why_it_cannot(world: World) -> None:
    run = claude_shim(world, "install", "--bin-dir", str(world.claude.path / "bin"))
    assert run.exit_code != 0
    assert len(run.lines) == 1


# Uninstalling


def test_uninstall_removes_the_launcher_and_leaves_the_store(world: World) -> None:
    world.map("r", "claude", derived("r"))
    claude_shim(world, "install")

    run = claude_shim(world, "uninstall")

    assert run.exit_code == 0
    assert list((world.home / ".nsed/bin").iterdir()) == []
    assert world.mappings == {"r": {"claude": derived("r")}}


def test_uninstall_removes_what_a_killed_one_left(world: World, bin_dir: Path) -> None:
    claude_shim(world, "install", "--bin-dir", str(bin_dir))
    (bin_dir / "claude").unlink()

    run = claude_shim(world, "uninstall", "--bin-dir", str(bin_dir))

    assert f"Removed {bin_dir}/.claude-shim\n" in run.stdout.decode()
    assert list(bin_dir.iterdir()) == []


def test_uninstall_removes_nothing_that_is_not_ours(world: World, bin_dir: Path) -> None:
    foreign = write_program(bin_dir / "claude", FOREIGN)
    run = claude_shim(world, "uninstall", "--bin-dir", str(bin_dir))
    assert "There is no launcher in " in run.stdout.decode()
    assert foreign.read_text() == FOREIGN


def test_uninstall_of_nothing_is_no_error(world: World, bin_dir: Path) -> None:
    assert claude_shim(world, "uninstall", "--bin-dir", str(bin_dir)).exit_code == 0


# Installed by another interpreter or from another place


def install_from(world: World, package: Path, python: Path | None = None) -> Path:
    """Install a launcher from a copy of the package, maybe with another interpreter."""
    if not package.exists():
        shutil.copytree(PACKAGE, package / "shim", ignore=shutil.ignore_patterns("__pycache__"))
    launcher = world.root / "launcher" / "claude"
    program = (
        "import sys; from pathlib import Path; from shim.install import launcher;"
        " launcher.install(Path(sys.argv[1]))"
    )
    run = world.run(
        *("-c", program, str(launcher.parent)),
        program=python or Path(sys.executable),
        env={
            "PYTHONPATH": os.pathsep.join([str(package), sysconfig.get_path("purelib")]),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    assert (run.exit_code, run.stderr) == (0, b"")
    world.path(launcher.parent, world.claude.path.parent)
    return launcher


@pytest.mark.parametrize(
    "name",
    ["plain", "a space", 'it\'s "quoted"', "$HOME `id`", "é", "long" * 50],
    ids=["plain", "space", "quotes", "shell", "not ASCII", "long"],
)
def test_an_interpreter_in_an_odd_place_runs_the_launcher(world: World, name: str) -> None:
    python = world.root / name / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)

    launcher = install_from(world, world.root / "package", python)
    call = world.call("-p", "a  b", "", program=launcher, env={"NSED_ROOM_ID": "r"})

    assert f" {python}\n" in launcher.with_name(".claude-shim").read_text()
    assert call.args == [b"--session-id", derived("r").encode(), b"-p", b"a  b", b""]
    hook = launcher.with_name(".claude-shim-plugin") / "follow.py"
    start = "".join(hook.read_text().splitlines()[:2])
    assert str(world.root) in start
    assert " -IS" in start
    compile(hook.read_text(), hook, "exec")  # what Python warns of is seen at every turn


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
@pytest.mark.parametrize("name", ['it\'s a "place"', "é 🙂"])
def test_a_package_in_an_odd_place_is_found(world: World, name: str, locale: str) -> None:
    launcher = install_from(world, world.root / name)
    call = world.call("-p", program=launcher, env={"NSED_ROOM_ID": "r", "LC_ALL": locale})
    assert call.args == FOUND


def test_a_launcher_from_a_virtual_environment_outlives_it(world: World) -> None:
    venv = world.root / "venv"
    make = ("-m", "venv", "--without-pip", str(venv))
    assert world.run(*make, program=Path(sys.executable)).exit_code == 0
    launcher = install_from(world, venv / "package", venv / "bin" / "python")
    shutil.rmtree(venv)

    assert str(launcher) in warned(world, launcher)


def warned(world: World, launcher: Path) -> str:
    """Run with a room; the one warning, and claude runs as asked."""
    run = world.run(*ARGS, program=launcher, env={"NSED_ROOM_ID": "r"})
    assert run.exit_code == 0
    assert world.claude.calls[-1].args == ARGS
    return run.warning


# The package changed


def test_a_changed_package_is_used_without_installing_again(world: World) -> None:
    launcher = install_from(world, world.root / "package")
    plan = world.root / "package" / "shim" / "call" / "plan.py"
    plan.write_text(plan.read_text().replace('"--session-id"', '"--changed"'))

    call = world.call("-p", program=launcher, env={"NSED_ROOM_ID": "r"})

    assert call.args[0] == b"--changed"


@pytest.mark.parametrize("share", [None, 0, 0.1, 0.5, 0.99], ids=str)
def test_the_launcher_can_do_without_the_modules_beside_it(
    world: World, share: float | None
) -> None:
    launcher = install_from(world, world.root / "package")
    path = launcher.with_name(".claude-shim-modules")
    content = path.read_bytes()
    path.unlink()
    if share is not None:
        path.write_bytes(content[: int(len(content) * share)])

    assert world.call("-p", program=launcher, env={"NSED_ROOM_ID": "r"}).args == FOUND


# The package or the Python gone


def package_removed(package: Path) -> None:
    shutil.rmtree(package)


def half_written(package: Path) -> None:
    wrapper = package / "shim/call/wrapper.py"
    wrapper.write_text(wrapper.read_text()[:1000])


def ending_early(package: Path) -> None:
    wrapper = package / "shim/call/wrapper.py"
    wrapper.write_text(wrapper.read_text().partition("    _die_of_an_interrupt")[0])


def of_another_version(package: Path) -> None:
    wrapper = package / "shim/call/wrapper.py"
    wrapper.write_text(wrapper.read_text().replace("def main(", "def main_of_another(") + "\n")


def with_another_way_in(package: Path) -> None:
    wrapper = package / "shim/call/wrapper.py"
    wrapper.write_text(wrapper.read_text().replace("def main(\n    plugin: str, ", "def main("))
    wrapper.write_text(wrapper.read_text().replace("def main(plugin: str, ", "def main("))


@pytest.mark.parametrize(
    "sabotage",
    [package_removed, half_written, ending_early, of_another_version, with_another_way_in],
    ids=lambda sabotage: sabotage.__name__,
)
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_where_the_package_cannot_run_it_is_one_warning_and_claude_runs(
    world: World, sabotage: Callable[[Path], None], locale: str
) -> None:
    world.environment["LC_ALL"] = locale
    launcher = install_from(world, world.root / "package")
    sabotage(world.root / "package")
    warning = warned(world, launcher)
    assert "install claude-shim again" in warning
    assert f"delete {launcher}" in warning
    # And where there is nothing to do, nothing is said.
    assert world.call("-p", program=launcher).args == [b"-p"]


ARGS = [b"-p", b"two words", b"", b"\xff", "é".encode()]


def other_python(world: World, version: str) -> Path:
    """This Python, saying that it is of another version."""
    code = f"import sys; sys.version_info = {version}; sys.hexversion += 65536; "
    code += "sys.argv = sys.argv[1:]; exec(compile(open(sys.argv[0]).read(), sys.argv[0], 'exec'))"
    script = write_program(world.root / "code.py", code)
    program = f'#!/bin/sh\nshift 2\nexec {sys.executable} -IS -Xutf8 {script} "$@"\n'
    return write_program(world.root / "other" / "python", program)


def test_a_python_of_another_version_continues_the_conversation_with_one_warning(
    world: World,
) -> None:
    python = world.root / "python"
    python.symlink_to(sys.executable)
    launcher = install_from(world, world.root / "package", python)
    python.unlink()
    python.symlink_to(other_python(world, "(3, 99, 0)"))

    run = world.run("-p", program=launcher, env={"NSED_ROOM_ID": "r"})

    assert run.exit_code == 0
    assert "run `claude-shim install` again" in run.warning
    assert world.claude.calls[0].args == FOUND


def test_a_bug_is_traced_to_its_line_where_that_is_asked_for(world: World) -> None:
    launcher = install_from(world, world.root / "package")
    identity = world.root / "package/shim/call/identity.py"
    text = identity.read_text()
    identity.write_text(text.replace('    if environ.get(b"OPENCODE")', "    1 / 0\n    if 1", 1))
    line = identity.read_text().splitlines().index("    1 / 0") + 1
    for _ in range(2):  # changed since the install, and as it was then
        run = world.run("-p", program=launcher, env={"NSED_ROOM_ID": "r", "NSED_SHIM_DEBUG": "1"})
        assert f'File "{identity}", line {line}, in opencode_names' in run.stderr.decode()
        assert world.claude.calls[-1].args == [b"-p"]
        install_from(world, world.root / "package")

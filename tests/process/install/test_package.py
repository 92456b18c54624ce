"""The package as users get it: built from the sources alone, and used where there are none."""

import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import shim
from tests.support.recorder import World, derived

CHECKOUT = Path(shim.__file__).parent.parent


class Package:
    """What `python -m build` made of a copy of the checkout, and a new environment that has it."""

    def __init__(self, root: Path) -> None:
        listed = run("git", "ls-files", "-z", cwd=CHECKOUT).split("\0")
        self.files = {name for name in listed if name and (CHECKOUT / name).exists()}
        copy = root / "copy"
        for name in self.files:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, copy / name)
        for name in (".venv/bin/python", ".cache/bin/claude"):
            (copy / name).parent.mkdir(parents=True)
            (copy / name).touch()
        python(copy, "build", "--no-isolation", "--outdir", str(root / "dist"))
        (self.sdist,) = (root / "dist").glob("*.tar.gz")
        (self.wheel,) = (root / "dist").glob("*.whl")
        self.programs = installed(self.wheel, root / "environment")


def installed(wheel: Path, environment: Path) -> Path:
    """The programs of a new environment that has the wheel, made without network and compiler."""
    python(CHECKOUT, "venv", "--without-pip", str(environment))
    (libraries,) = environment.glob("lib/python*/site-packages")
    for library in ("click", "filelock", "psutil"):
        copy_library(library, libraries)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python")]
    run(*pip, "install", "--no-index", str(wheel), cwd=CHECKOUT, env={"PATH": "/nowhere"})
    return environment / "bin"


def run(*command: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


def build_wheels(out: Path, *platforms: str) -> dict[str, bytes]:
    run(str(CHECKOUT / "scripts/wheels"), "--out", str(out), *platforms, cwd=CHECKOUT)
    return {file.name: file.read_bytes() for file in out.iterdir()}


def own_platform() -> str:
    """What `scripts/wheels` calls the platform of this machine."""
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if sys.platform == "darwin":
        return f"{machine}-macos"
    return f"{machine}-linux-{'gnu' if platform.libc_ver()[0] else 'musl'}"


def python(cwd: Path, module: str, *args: str) -> str:
    return run(sys.executable, "-m", module, *args, cwd=cwd)


def copy_library(name: str, directory: Path) -> None:
    for file in metadata.files(name) or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            (directory / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(str(file.locate())), directory / file)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return Package(tmp_path_factory.mktemp("package"))


def test_twine_has_nothing_to_say_of_it(package: Package) -> None:
    python(CHECKOUT, "twine", "check", "--strict", str(package.sdist), str(package.wheel))


def test_the_sdist_is_what_git_has_and_nothing_of_the_machine_it_was_built_on(
    package: Package,
) -> None:
    with tarfile.open(package.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names == package.files | {"PKG-INFO"}


def test_the_wheel_is_the_folder_shim_with_its_data(package: Package) -> None:
    ours = {name for name in package.files if name.startswith("shim/")}
    data = {name for name in ours if not name.endswith(".py")}
    assert {"shim/claude/listed.txt", "shim/opencode/claude-shim.js"} < data
    with zipfile.ZipFile(package.wheel) as wheel:
        names = set(wheel.namelist())
    # Compiled where it was built, for this system and for every Python.
    assert ours | {"shim/install/launcher", "shim/install/follow"} <= names
    assert "-py3-none-" in package.wheel.name
    assert not package.wheel.name.endswith("-any.whl")
    assert {name.partition("/")[0] for name in names} == {"shim", f"{wheel_name()}.dist-info"}


def test_the_metadata_has_no_upper_bound_and_invents_no_address(package: Package) -> None:
    with zipfile.ZipFile(package.wheel) as wheel:
        told = wheel.read(f"{wheel_name()}.dist-info/METADATA").decode().partition("\n\n")[0]
    assert "\nRequires-Python: >=3.10\n" in told
    assert "http" not in told


def wheel_name() -> str:
    return f"claude_shim-{metadata.version('claude-shim')}"


def test_scripts_wheels_makes_the_same_bytes_each_time(tmp_path: Path, long: bool) -> None:
    platforms = [] if long else [own_platform()]
    wheels = build_wheels(tmp_path / "once", *platforms)
    assert len(wheels) == (7 if long else 2)
    assert build_wheels(tmp_path / "twice", *platforms) == wheels


@pytest.mark.parametrize("is_for_others", [False, True], ids=["pip's wheel", "scripts/wheels"])
def test_it_works_where_there_is_no_checkout(
    package: Package, world: World, tmp_path: Path, is_for_others: bool
) -> None:
    programs = package.programs
    if is_for_others:
        build_wheels(tmp_path / "dist", own_platform())
        (wheel,) = (tmp_path / "dist").glob("*.whl")
        programs = installed(wheel, tmp_path / "environment")
    world.path(programs, world.claude.path.parent, "/usr/bin", "/bin")
    world.environment["SHELL"] = "/bin/bash"

    def claude_shim(*args: str) -> str:
        done = world.run(*args, program=programs / "claude-shim")
        assert done.exit_code == 0, done.lines
        return done.stdout.decode()

    assert metadata.version("claude-shim") in claude_shim("--version")
    claude_shim("install")
    world.launcher = world.home / ".nsed" / "bin" / "claude"
    beside = world.launcher.with_name(".claude-shim-program.py")
    assert str(CHECKOUT) not in beside.read_text()

    call = world.call("-p", "hi", env={"NSED_ROOM_ID": "r"})

    assert call.args[:2] == [b"--session-id", derived("r").encode()]
    assert world.mappings == {"r": {"claude": derived("r")}}
    claude_shim("uninstall")
    assert not world.launcher.exists()

"""Compiles the launcher and the hook as the package is built: a hook of hatchling's.

An editable install runs those in the source tree. `scripts/wheels` names another platform in the
variable TARGET, one of TARGETS.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

SOURCE = "shim/install/launcher.c"
# What is compiled of each source.
PROGRAMS = {SOURCE: "shim/install/launcher", "shim/install/follow.c": "shim/install/follow"}
# Warnings are errors in the tests alone: a compiler newer than this may have new ones.
OPTIONS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-pedantic"]
COMPILERS = ["cc", "gcc", "clang"]
ZIG = [sys.executable, "-m", "ziglang", "cc"]
# The platforms of wheels: what zig calls them, with the oldest system there, and their tags.
TARGET = "CLAUDE_SHIM_TARGET"
TARGETS = {
    "aarch64-macos": ("aarch64-macos.11.0", "macosx_11_0_arm64"),
    "x86_64-macos": ("x86_64-macos.11.0", "macosx_11_0_x86_64"),
    "aarch64-linux-gnu": ("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64"),
    "x86_64-linux-gnu": ("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64"),
    "aarch64-linux-musl": ("aarch64-linux-musl", "musllinux_1_1_aarch64"),
    "x86_64-linux-musl": ("x86_64-linux-musl", "musllinux_1_1_x86_64"),
}
# How a launcher is told from any other program, and how far from its start that is looked for.
MARK, MARK_WITHIN = b"# claude-shim launcher", 65536


class CompilerError(Exception):
    """There is no launcher; the message says what to install."""


class BuildLauncher(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the programs into the wheel, whose tag then says the platform but no Python."""

    def dependencies(self) -> list[str]:
        """`ziglang`, which brings a compiler, where there is none that compiles the launcher."""
        if TARGET in os.environ:
            return ["ziglang"]
        with tempfile.TemporaryDirectory() as directory:
            try:
                compile_program(Path(self.root, SOURCE), Path(directory, "launcher"))
            except CompilerError:
                return ["ziglang"]
        return []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile it; a build that cannot ends in one line."""
        for source, program in PROGRAMS.items():
            try:
                compile_program(Path(self.root, source), Path(self.root, program))
            except CompilerError as problem:
                self.app.abort(str(problem))
            build_data["artifacts"].append(program)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform()}"


def compile_program(source: Path, program: Path) -> None:
    """Compile with the first compiler that can. Raises CompilerError."""
    complaints = []
    with tempfile.TemporaryDirectory(dir=program.parent, prefix=".compiling-") as directory:
        # Under its own name, which is in its signature on macOS.
        unfinished = Path(directory, program.name)
        for compiler in compilers():
            command = [*compiler, *OPTIONS, "-o", str(unfinished), str(source)]
            try:
                run = subprocess.run(command, capture_output=True, text=True, errors="replace")
            except OSError as problem:
                complaints.append(f"{shlex.join(compiler)}: {problem.strerror}")
                continue
            if run.returncode == 0 and _keeps_mark(source, unfinished):
                unfinished.replace(program)
                return
            said = run.stderr.strip().partition("\n")[0] or f"exit code {run.returncode}"
            complaints.append(f"{shlex.join(compiler)}: {said}")
    raise CompilerError(
        "the launcher needs a C compiler: `apt install gcc libc6-dev`, `dnf install gcc`,"
        " `apk add gcc musl-dev` or `xcode-select --install`, or name one in CC"
        + "".join(f" ({complaint})" for complaint in complaints)
    )


def compilers() -> list[list[str]]:
    """The compilers there may be, the one to use first."""
    if TARGET in os.environ:
        # Without debugging information, which has the paths of this machine.
        return [[*ZIG, "-target", TARGETS[os.environ[TARGET]][0], "-s"]]
    named = shlex.split(os.environ.get("CC", ""))
    found = [[name] for name in COMPILERS if shutil.which(name)]
    return [*([named] if named else []), *found, ZIG]


def _keeps_mark(source: Path, program: Path) -> bool:
    """Whether a program has the mark where it is looked for, if its source has it."""
    return MARK not in source.read_bytes() or MARK in program.read_bytes()[:MARK_WITHIN]


def platform() -> str:
    """The tag of the platform that is built for.

    For this one it is the plain tag: on Linux the launcher is linked with this system's C library.
    """
    if TARGET in os.environ:
        return TARGETS[os.environ[TARGET]][1]
    return next(tag for tag in platform_tags() if not tag.startswith(("manylinux", "musllinux")))

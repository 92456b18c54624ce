"""Install the launcher, the program named `claude`, into a directory, and uninstall it."""

import os
import shutil
from pathlib import Path

from shim.base import files
from shim.base.messages import Failure
from shim.install import manifest, modules, python
from shim.install.manifest import Maker
from shim.install.real_claude import built, is_launcher

NAME = "claude"
# Beside the launcher: the manifest, the program that Python runs, the modules of the wrapper, and
# our plugin for claude, in its variants, with their hooks.
_MANIFEST = ".claude-shim"
_PROGRAM = ".claude-shim-program.py"
_PRELOAD = ".claude-shim-modules"
_PLUGIN = ".claude-shim-plugin"
# What only earlier versions had there.
_EARLIER = ".claude-shim-program.pyc"
_HOOK = "follow"
_HOOK_BUILT = Path(__file__).with_name("follow")
_PLUGIN_SOURCE = Path(__file__).parent / "claude_plugin"
# The hooks in Python, each with the module that it runs.
_HOOKS = {
    "follow.py": "shim.hooks.head_hook",
    "flush": "shim.hooks.flush_hook",
    "map": "shim.hooks.path_hook",
}


def install(directory: Path) -> Path:
    """Write the launcher into a directory, atomically, and return its path.

    Raises Failure if another program has that name, or no interpreter can run the wrapper.
    """
    path = directory / NAME
    if os.path.lexists(path) and not is_launcher(path):
        raise Failure(f"{path} is not ours: move it away, or choose another --bin-dir")
    chosen = python.choose(manifest.import_paths())
    try:
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copytree(_PLUGIN_SOURCE, plugin(directory), copy_function=_copy, dirs_exist_ok=True)
        # The launcher last, and before it the manifest, which names the others.
        _replace(directory / _PRELOAD, modules.text(), 0o644)
        for name in _HOOKS:
            _replace(plugin(directory) / name, _hook_program(chosen, name), 0o755)
        _replace(hook(directory), built(_HOOK_BUILT).read_bytes(), 0o755)
        program = directory / _PROGRAM
        _replace(program, _program(directory), 0o644)
        _replace(directory / _MANIFEST, os.fsencode(manifest.text(chosen, program)), 0o644)
        _replace(path, built().read_bytes(), 0o755)
        (directory / _EARLIER).unlink(missing_ok=True)
    except OSError as problem:
        raise Failure(f"{path} cannot be written: {problem.strerror}") from problem
    return path


def uninstall(directory: Path) -> Path | None:
    """Remove the launcher from a directory, and return its path; None if it has none of ours.

    The manifest goes last, so that a second run finishes what a killed one began. Raises Failure
    if the system refuses.
    """
    path, last = directory / NAME, directory / _MANIFEST
    is_there = is_launcher(path)
    if not is_there and not os.path.lexists(last):
        return None
    try:
        if is_there:
            path.unlink()
        shutil.rmtree(plugin(directory), ignore_errors=True)
        for name in (_EARLIER, _PROGRAM, _PRELOAD):
            (directory / name).unlink(missing_ok=True)
        last.unlink(missing_ok=True)
    except OSError as problem:
        raise Failure(f"{path} cannot be removed: {problem.strerror}") from problem
    return path if is_there else last


def stale(directory: Path) -> list[Path]:
    """The files that `install`, run by this Python, would change or add in a directory.

    Without the manifest: see `lines`. Raises OSError if a file cannot be read, Failure.
    """
    chosen = python.choose(manifest.import_paths())
    wanted = {
        directory / NAME: built().read_bytes(),
        directory / _PROGRAM: _program(directory),
        hook(directory): built(_HOOK_BUILT).read_bytes(),
        **{plugin(directory) / name: _hook_program(chosen, name) for name in _HOOKS},
    }
    for source in _PLUGIN_SOURCE.rglob("*.json"):
        wanted[plugin(directory) / source.relative_to(_PLUGIN_SOURCE)] = source.read_bytes()
    outdated = [path for path, content in wanted.items() if _content(path) != content]
    if not modules.is_current(_content(directory / _PRELOAD)):
        outdated.append(directory / _PRELOAD)
    return outdated


def lines(directory: Path) -> list[manifest.Line]:
    """The lines of the manifest in a directory. Raises OSError."""
    return manifest.lines(directory / _MANIFEST)


def maker(directory: Path) -> Maker | None:
    """Who installed the launcher of a directory; None if nothing there says."""
    try:
        return manifest.maker(directory / _MANIFEST)
    except OSError:
        return None


def starts(directory: Path) -> bool:
    """Whether the Python of a directory's launcher can run the wrapper. Raises OSError."""
    return manifest.starts(directory / _MANIFEST)


def plugin(directory: Path) -> Path:
    """The directory of our plugin for claude, beside a launcher."""
    return directory / _PLUGIN


def hook(directory: Path) -> Path:
    """The plugin's hook in C."""
    return directory / _PLUGIN / _HOOK


def hook_script(directory: Path) -> Path:
    """The hook in Python, which the one in C becomes if it cannot decide."""
    return hook(directory).with_suffix(".py")


def first_on_path() -> str | None:
    """The program that a shell runs as `claude`."""
    for directory in os.get_exec_path():
        path = os.path.join(directory, NAME)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _program(directory: Path) -> bytes:
    return os.fsencode(manifest.program_text(plugin(directory), directory / _PRELOAD))


def _hook_program(python: str, name: str) -> bytes:
    is_recording = name == hook_script(Path()).name
    return os.fsencode(manifest.hook_text(python, _HOOKS[name], is_recording))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _copy(source: str, target: str) -> None:
    _replace(Path(target), Path(source).read_bytes(), 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    files.replace(os.fspath(path), content, mode)

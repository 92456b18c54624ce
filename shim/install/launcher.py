"""The launcher, the program named `claude`: putting it into a directory, and taking it away."""

import os
import shutil
from pathlib import Path

from shim.base import files
from shim.base.messages import Failure
from shim.install import manifest, modules, python
from shim.install.manifest import Maker
from shim.install.real_claude import built, is_launcher

NAME = "claude"
# Beside the launcher: which Python to become, what that runs, and compiled, the modules of the
# wrapper, and our plugin for claude, in its variants, with their hooks.
_INSTALLATION = ".claude-shim"
_PROGRAM = ".claude-shim-program.py"
_PRELOAD = ".claude-shim-modules"
_PLUGIN = ".claude-shim-plugin"
_HOOK = "follow"
_HOOK_BUILT = Path(__file__).with_name("follow")
_PLUGIN_SOURCE = Path(__file__).parent / "claude_plugin"
# The hooks' programs in Python, each with what it runs.
_HOOKS = {
    "follow.py": "shim.hooks.head_hook",
    "flush": "shim.hooks.flush_hook",
    "map": "shim.hooks.path_hook",
}


def install(directory: Path) -> Path:
    """Write the launcher into a directory, atomically, and return its path.

    Raises Failure where something else has that name, or no interpreter can run it.
    """
    path = directory / NAME
    if os.path.lexists(path) and not is_launcher(path):
        raise Failure(f"{path} is not ours: move it away, or choose another --bin-dir")
    chosen = python.choose(manifest.import_paths())
    try:
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copytree(_PLUGIN_SOURCE, plugin(directory), copy_function=_copy, dirs_exist_ok=True)
        # The launcher last, and before it the file that names the others.
        _replace(directory / _PRELOAD, modules.text(), 0o644)
        for name, module in _HOOKS.items():
            _replace(plugin(directory) / name, _hook(chosen, module), 0o755)
        _replace(hook(directory), built(_HOOK_BUILT).read_bytes(), 0o755)
        program, text = directory / _PROGRAM, _program(directory)
        _replace(program, os.fsencode(text), 0o644)
        _replace(manifest.compiled_of(program), manifest.compiled(text, program), 0o644)
        installation = manifest.installation_text(chosen, program)
        _replace(directory / _INSTALLATION, os.fsencode(installation), 0o644)
        _replace(path, built().read_bytes(), 0o755)
    except OSError as problem:
        raise Failure(f"{path} cannot be written: {problem.strerror}") from problem
    return path


def uninstall(directory: Path) -> Path | None:
    """Remove the launcher from a directory; None where there is none of ours.

    What was killed is done by the next one: what says that there was a launcher goes last. Raises
    Failure where the system refuses.
    """
    path, installation = directory / NAME, directory / _INSTALLATION
    is_there = is_launcher(path)
    if not is_there and not os.path.lexists(installation):
        return None
    try:
        if is_there:
            path.unlink()
        shutil.rmtree(plugin(directory), ignore_errors=True)
        program = directory / _PROGRAM
        for file in (manifest.compiled_of(program), program, directory / _PRELOAD, installation):
            file.unlink(missing_ok=True)
    except OSError as problem:
        raise Failure(f"{path} cannot be removed: {problem.strerror}") from problem
    return path if is_there else installation


def stale(directory: Path) -> list[Path]:
    """What `install`, run by this Python, would change or add in a directory.

    But for what the file beside the launcher says of others: see `lines`. Raises OSError where
    something there cannot be read, Failure.
    """
    chosen = python.choose(manifest.import_paths())
    program, text = directory / _PROGRAM, _program(directory)
    wanted = {
        directory / NAME: built().read_bytes(),
        program: os.fsencode(text),
        hook(directory): built(_HOOK_BUILT).read_bytes(),
        **{plugin(directory) / name: _hook(chosen, module) for name, module in _HOOKS.items()},
    }
    for source in _PLUGIN_SOURCE.rglob("*.json"):
        wanted[plugin(directory) / source.relative_to(_PLUGIN_SOURCE)] = source.read_bytes()
    outdated = [path for path, content in wanted.items() if _content(path) != content]
    if not manifest.is_compiled(_content(manifest.compiled_of(program)), text, program):
        outdated.append(manifest.compiled_of(program))
    if not modules.is_current(_content(directory / _PRELOAD)):
        outdated.append(directory / _PRELOAD)
    return outdated


def lines(directory: Path) -> list[manifest.Line]:
    """What the file beside a directory's launcher says, and whether it holds. Raises OSError."""
    return manifest.lines(directory / _INSTALLATION)


def maker(directory: Path) -> Maker | None:
    """Who made a directory's launcher, or None where nothing there says."""
    try:
        return manifest.maker(directory / _INSTALLATION)
    except OSError:
        return None


def starts(directory: Path) -> bool:
    """Whether the Python that a directory's launcher becomes runs the wrapper. Raises OSError."""
    return manifest.starts(directory / _INSTALLATION)


def plugin(directory: Path) -> Path:
    """Where the plugin for claude of a directory's launcher is."""
    return directory / _PLUGIN


def hook(directory: Path) -> Path:
    """Where the hook of that plugin is."""
    return directory / _PLUGIN / _HOOK


def hook_script(directory: Path) -> Path:
    """What the hook becomes where it takes more than a look."""
    return hook(directory).with_suffix(".py")


def first_on_path() -> str | None:
    """The program that a shell runs as `claude`."""
    for directory in os.get_exec_path():
        path = os.path.join(directory, NAME)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _program(directory: Path) -> str:
    return manifest.program_text(plugin(directory), directory / _PRELOAD)


def _hook(python: str, module: str) -> bytes:
    return os.fsencode(manifest.hook_text(python, module))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _copy(source: str, target: str) -> None:
    _replace(Path(target), Path(source).read_bytes(), 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    files.replace(os.fspath(path), content, mode)

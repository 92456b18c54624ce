"""The file beside the launcher that `preload` loads the wrapper's modules from."""

import importlib.util
import marshal
import sys
from pathlib import Path
from types import CodeType

from shim.install import preload


def text() -> bytes:
    """The content of the file: the code that loads the modules, and theirs."""
    source = Path(preload.__file__)
    loader = source.read_text() + "load(modules)"
    modules = [(name, str(file), *_stamp(file), _code(file)) for name, file in _files().items()]
    code = compile(loader, str(source), "exec", dont_inherit=True)
    return marshal.dumps((code, modules)) + sys.hexversion.to_bytes(4, "big")


def is_current(content: bytes | None) -> bool:
    """Whether the content of a file is for this Python, and for the modules as they are now."""
    if content is None or not content.endswith(sys.hexversion.to_bytes(4, "big")):
        return False
    try:
        _, modules = marshal.loads(content)
        there = [tuple(module[:4]) for module in modules]
    except (ValueError, EOFError, TypeError):
        return False
    return there == [(name, str(file), *_stamp(file)) for name, file in _files().items()]


def _files() -> dict[str, Path]:
    """The source of each module that is preloaded."""
    specs = {name: importlib.util.find_spec(name) for name in preload.MODULES}
    return {name: Path(spec.origin) for name, spec in specs.items() if spec and spec.origin}


def _code(file: Path) -> CodeType:
    """A module's code without docstrings."""
    code: CodeType = compile(file.read_bytes(), str(file), "exec", dont_inherit=True, optimize=2)
    return code


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size

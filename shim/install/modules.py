"""The file of the wrapper's modules beside the launcher, that `preload` loads them from."""

import ast
import importlib.util
import marshal
import sys
from pathlib import Path
from types import CodeType

from shim.install import preload


def text() -> bytes:
    """The file of the wrapper's modules, and of the code that loads them."""
    source = Path(preload.__file__)
    loader = source.read_text() + "sys.meta_path.insert(0, Preloaded(modules))"
    modules = {name: (str(file), *_stamp(file), _code(file)) for name, file in _files().items()}
    code = compile(loader, str(source), "exec", dont_inherit=True)
    return marshal.dumps((code, modules)) + sys.hexversion.to_bytes(4, "big")


def _files() -> dict[str, Path]:
    """The file of each module that is preloaded."""
    specs = {
        name: importlib.util.find_spec(name) for name in (*preload.MODULES, *preload.EXTENSIONS)
    }
    return {
        name: Path(spec.origin)
        for name, spec in specs.items()
        if spec is not None and spec.has_location and spec.origin
    }


def _code(file: Path) -> CodeType | None:
    """A module's code without what nobody asks for at a call, or None for an extension module.

    The docstrings would be a third of it, and the annotations are expressions to work out.
    """
    if file.suffix != ".py":
        return None
    bare = _Unannotated().visit(ast.parse(file.read_bytes()))
    return _without_lines(compile(bare, str(file), "exec", dont_inherit=True, optimize=2))


def _without_lines(code: CodeType) -> CodeType:
    """The same code with a table of line numbers that has none: it was a quarter of it.

    What goes wrong at a call is told in one line, which names none. (CPython's
    Objects/locations.md: an entry of one byte gives up to eight units of code no location.
    Python 3.10 has another table, and a smaller one.)
    """
    if sys.version_info < (3, 11):
        return code
    eights, rest = divmod(len(code.co_code) // 2, 8)
    table = b"\xff" * eights + bytes([0xF8 | rest - 1] if rest else [])
    constants = [_without_lines(it) if isinstance(it, CodeType) else it for it in code.co_consts]
    return code.replace(co_linetable=table, co_consts=tuple(constants))


class _Unannotated(ast.NodeTransformer):
    """Takes the annotations out of a module."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        bare = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.copy_location(bare, node)


def is_current(content: bytes | None) -> bool:
    """Whether a file of modules is for this Python and for the modules as they are."""
    if content is None or not content.endswith(sys.hexversion.to_bytes(4, "big")):
        return False
    try:
        _, modules = marshal.loads(content)
        there = {name: tuple(module[:3]) for name, module in modules.items()}
    except (ValueError, EOFError, TypeError, AttributeError):
        return False
    return there == {name: (str(file), *_stamp(file)) for name, file in _files().items()}


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size

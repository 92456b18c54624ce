"""What the sources say of themselves: the messages they can print, the variables they read."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import shim

PACKAGE = Path(shim.__file__).parent
PLACE = "…"
"""Stands in a message for what is only known when it is printed."""

_WARNINGS = {"warn", "fail", "_alone"}
_ERRORS = {"Failure", "ClickException", "UsageError", "OSError", "Unavailable", "Unanswered"}
_C_WARNING = re.compile(r'\bwarn\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')
_C_PLACE = re.compile(r"%[-.\d]*[a-z]+")
_JS_ERROR = re.compile(r"new Error\(`([^`]*)`\)")
_OWN = re.compile(r"(NSED|CLAUDE|OPENCODE|XDG)_[A-Z_]+")
_ELSEWHERE = re.compile(r'process\.env\.(\w+)|(?:getenv|variable)\("(\w+)"|"(NSED_[A-Z_]*[A-Z])=?"')


def messages() -> set[str]:
    """Every warning and error that the package can print, with `…` for what is filled in."""
    found: set[str] = set()
    for module in _modules():
        found |= _Messages(module).found
    for path in PACKAGE.rglob("*.c"):
        for literals in _C_WARNING.findall(path.read_text("utf-8")):
            text = "".join(ast.literal_eval(f"({literals})"))
            found.add(_C_PLACE.sub(PLACE, text))
    for path in PACKAGE.rglob("*.js"):
        found.update(
            re.sub(r"\$\{[^}]*\}", PLACE, it) for it in _JS_ERROR.findall(path.read_text())
        )
    return {message for message in found if re.search(r"\w", message)}


def variables() -> set[str]:
    """Every environment variable that the package reads."""
    found: set[str] = set()
    for module in _modules():
        found |= set(_variables(module))
    for path in (*PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.c")):
        for names in _ELSEWHERE.findall(path.read_text("utf-8")):
            found.update(filter(None, names))
    return found


def variables_of(program: str) -> set[str]:
    """Every environment variable that a program in Python reads."""
    return set(_variables(ast.parse(program)))


def _modules() -> Iterator[ast.Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ast.parse(path.read_text("utf-8"))


class _Messages:
    def __init__(self, module: ast.Module) -> None:
        self._module = module
        self._errors = _ERRORS | {
            node.name
            for node in ast.walk(module)
            if isinstance(node, ast.ClassDef)
            and any(_last_name(base) in _ERRORS for base in node.bases)
        }
        self.found = {
            text
            for node in ast.walk(module)
            if isinstance(node, ast.Call) and node.args and self._is_said(node)
            for text in self._texts(node.args[0])
        }

    def _is_said(self, call: ast.Call) -> bool:
        name = _last_name(call.func)
        if name == "OSError" or name == "exit":
            return len(call.args) == 1 and not _is_plain(call.args[0])
        return name in _WARNINGS or name in self._errors or name in ("Busy", "InUse")

    def _texts(self, node: ast.expr) -> Iterator[str]:
        """What an expression can be, as far as the module says."""
        if isinstance(node, ast.Constant):
            yield str(node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else PLACE for part in node.values
            )
        elif isinstance(node, ast.IfExp):
            yield from self._texts(node.body)
            yield from self._texts(node.orelse)
        elif isinstance(node, ast.BinOp):
            for left in self._texts(node.left):
                for right in self._texts(node.right):
                    yield left + right
        elif isinstance(node, ast.Name):
            for assignment in ast.walk(self._module):
                if isinstance(assignment, ast.Assign) and _is_to(assignment, node.id):
                    yield from self._texts(assignment.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            for function in ast.walk(self._module):
                if isinstance(function, ast.FunctionDef) and function.name == node.func.id:
                    for inner in ast.walk(function):
                        if isinstance(inner, ast.Return) and inner.value:
                            yield from self._texts(inner.value)
        else:
            yield PLACE


def _is_to(assignment: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in assignment.targets)


def _is_plain(node: ast.expr) -> bool:
    """Whether it is a number or a name: an exit code, or another's message said again."""
    return not isinstance(node, ast.JoinedStr) and not (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _variables(module: ast.Module) -> Iterator[str]:
    constants = {
        target.id: node.value
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    set_for_others = {
        id(key) for node in ast.walk(module) if isinstance(node, ast.Dict) for key in node.keys
    } | {
        id(node.slice)
        for node in ast.walk(module)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            of, name = _last_name(node.func.value), node.args[0]
            if of.startswith("environ") or node.func.attr == "getenv":
                yield from _name(
                    constants.get(name.id, name) if isinstance(name, ast.Name) else name
                )
        elif isinstance(node, ast.Subscript) and _last_name(node.value).startswith("environ"):
            yield from _name(node.slice)
        elif isinstance(node, ast.Constant) and id(node) not in set_for_others:
            yield from (name for name in _name(node) if _OWN.fullmatch(name))


def _name(node: ast.expr) -> Iterator[str]:
    value = node.value if isinstance(node, ast.Constant) else None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    if isinstance(text, str) and re.fullmatch("[A-Z_][A-Z0-9_]*", text):
        yield text

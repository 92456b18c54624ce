"""The wrapper's modules in one file, so that a call reads one file and not a dozen.

Importing a module costs some 90 µs, nine tenths of it in finding and opening its compiled file;
`claude-shim install` puts the compiled modules of the usual way into one file beside the launcher.
It is a cache as Python's own are: of a module whose source has changed since, and of another
Python, nothing is taken.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Final

# What a call of a known room and agent imports, and a hook.
MODULES: "Final" = (
    "shim",
    "shim.base",
    "shim.base.environment",
    "shim.base.files",
    "shim.base.messages",
    "shim.base.session_key",
    "shim.base.times",
    "shim.call",
    "shim.call.continuing",
    "shim.call.identity",
    "shim.call.plan",
    "shim.call.wrapper",
    "shim.claude",
    "shim.claude.binary",
    "shim.claude.invocation",
    "shim.claude.learned",
    "shim.claude.options",
    "shim.claude.registry",
    "shim.claude.transcripts",
    "shim.hooks",
    "shim.hooks.following",
    "shim.keep",
    "shim.keep.daily",
    "shim.keep.folder",
    "shim.keep.holding",
    "shim.lease",
    "shim.lease.lease",
    "shim.store",
    "shim.store.layout",
    "shim.store.locked_file",
    "shim.store.store",
)

# What these import of the standard library that may be a file of its own, an extension module:
# finding that takes longer than loading it.
EXTENSIONS: "Final" = ("fcntl",)


class Preloaded:
    """Finds and loads modules from a mapping of names to (file, mtime in ns, size, code).

    An extension module has no code there: it is loaded from its file.
    """

    def __init__(self, modules: "dict[str, tuple[str, int, int, CodeType | None]]") -> None:
        self.modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> "Any":
        """The module's spec where its file is as it was, else None."""
        if name not in self.modules:
            return None
        file, mtime, size, code = self.modules[name]
        try:
            status = posix.stat(file)
        except OSError:
            return None
        if (status.st_mtime_ns, status.st_size) != (mtime, size):
            return None
        new_spec: Any = type(sys.__spec__)
        if code is None:
            from _frozen_importlib_external import ExtensionFileLoader

            return new_spec(name, ExtensionFileLoader(name, file), origin=file)
        is_package = file.endswith("/__init__.py")
        spec = new_spec(name, self, origin=file, is_package=is_package)
        if is_package:
            spec.submodule_search_locations = [file[: -len("/__init__.py")]]
        return spec

    def create_module(self, spec: object) -> None:
        """The usual kind of module."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code."""
        file, _, _, code = self.modules[module.__name__]
        # By hand: for a spec with a location, the place of its .pyc would be worked out too.
        module.__file__ = file
        if code is not None:
            exec(code, module.__dict__)

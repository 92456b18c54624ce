"""Load the wrapper's modules from one file: a call reads one file instead of thirty.

`claude-shim install` writes it beside the launcher, with the code of the modules and of this one.
It is a cache: another Python ignores it, and it loads nothing from the first module on whose source
has changed since. It saves a fifth of a call.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType
    from typing import Any, Final

# What a call of a known room and agent imports, each after what it imports itself.
MODULES: "Final" = (
    "shim",
    "shim.base",
    "shim.base.environment",
    "shim.base.messages",
    "shim.base.files",
    "shim.base.session_key",
    "shim.base.times",
    "shim.claude",
    "shim.claude.cli_spec",
    "shim.claude.transcripts",
    "shim.claude.invocation",
    "shim.claude.spec_cache",
    "shim.claude.spec_lookup",
    "shim.claude.registry",
    "shim.claude.child_environment",
    "shim.claude.hooks",
    "shim.locks",
    "shim.locks.record_lock",
    "shim.store",
    "shim.store.layout",
    "shim.store.locked_file",
    "shim.store.store",
    "shim.store.markers",
    "shim.store.plugin_links",
    "shim.retention",
    "shim.retention.daily",
    "shim.retention.pins",
    "shim.retention.pinning",
    "shim.call",
    "shim.call.becoming",
    "shim.call.identity",
    "shim.call.call",
    "shim.call.effects",
    "shim.call.plan",
    "shim.call.resuming",
    "shim.call.wrapper",
)


def load(modules: "Iterable[tuple[str, str, int, int, CodeType]]") -> None:
    """Load modules, each a name, a file, its mtime in ns, its size, and its code.

    Raises OSError if a file is gone.
    """
    for name, file, mtime, size, code in modules:
        status = posix.stat(file)
        if (status.st_mtime_ns, status.st_size) != (mtime, size):
            return
        module: Any = type(sys)(name)
        module.__file__ = file
        if file.endswith("/__init__.py"):
            module.__path__ = [file[: -len("/__init__.py")]]
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
        exec(code, module.__dict__)

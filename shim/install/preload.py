"""The wrapper's modules in one file, so that a call reads one file and not thirty.

`claude-shim install` writes it beside the launcher, with the code of the modules and of this one.
It is a cache as Python's own are: of another Python nothing is taken, and nothing from the first
module on whose source has changed since. It saves a sixth of a call; half of that because they are
run one after the other, and not found and imported one by one.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType
    from typing import Any, Final

# What a call of a known room and agent imports, each behind what it imports itself. `fcntl` may be
# a file of its own, an extension module: to find that takes longer than to load it.
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
    "fcntl",
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


def load(modules: "Iterable[tuple[str, str, int, int, CodeType | None]]") -> None:
    """Load modules, each a name, a file, its mtime in ns, its size, and its code.

    An extension module has no code there: it is loaded from its file. Raises OSError where a file
    is gone, ImportError where an extension module cannot be loaded.
    """
    for name, file, mtime, size, code in modules:
        status = posix.stat(file)
        if (status.st_mtime_ns, status.st_size) != (mtime, size):
            return
        if code is None:
            _load_extension(name, file)
            continue
        module: Any = type(sys)(name)
        module.__file__ = file
        if file.endswith("/__init__.py"):
            module.__path__ = [file[: -len("/__init__.py")]]
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)
        exec(code, module.__dict__)


def _load_extension(name: str, file: str) -> None:
    import _imp

    new_spec: Any = type(sys.__spec__)
    module = _imp.create_dynamic(new_spec(name, None, origin=file))
    _imp.exec_dynamic(module)
    sys.modules[name] = module

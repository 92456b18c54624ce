"""`claude-shim`: what a person does about the shim, one module a subcommand."""

import sys


def main() -> None:
    """Run `claude-shim`."""
    if sys.platform == "win32":
        sys.exit("claude-shim: Windows has no execve: claude-shim runs on Linux and macOS")
    from shim.commands.group import group

    group()

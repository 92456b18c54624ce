"""The `claude-shim` command itself, which its subcommands are part of."""

from __future__ import annotations

import difflib
from importlib import import_module

import click

# In the order in which a person comes to need them. Each is the module of its name in this
# package, and `command` in it; only what is asked for is imported.
SUBCOMMANDS = (
    "install",
    "uninstall",
    "init",
    "completion",
    "opencode",
    "status",
    "doctor",
    "explain",
    "open",
    "list",
    "show",
    "ps",
    "link",
    "forget",
    "delete",
    "prune",
    "fleet",
    "import",
    "export",
    "which",
    "version",
    "help",
)
# Words that people try.
_MEANT = {
    "ls": "Did you mean 'list'?",
    "rm": "Did you mean 'forget' (the next call starts a new conversation) or 'delete' (for good)?",
}


class _Subcommands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in SUBCOMMANDS:
            return None
        command: click.Command = import_module(f"shim.commands.{name}").command
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _MEANT:
            context.fail(f"No such command '{args[0]}'. {_MEANT[args[0]]}")
        close = difflib.get_close_matches(args[0], SUBCOMMANDS, n=1)
        if close and args[0] not in SUBCOMMANDS:
            context.fail(f"No such command '{args[0]}'. Did you mean '{close[0]}'?")
        return super().resolve_command(context, args)


_EPILOG = """\b
Examples:
  claude-shim install              the launcher, and what to do next
  claude-shim open refactor        goes on with the room's conversation
  claude-shim list                 which conversation is whose
  claude-shim forget refactor      the next call starts a new one

\b
Exit codes:
  0    done
  1    not done, or nothing to do it to; doctor: something needs mending
  2    wrong use
  75   a claude is live on it, or the store stays locked: try again later
  127  which: there is no claude
  130  Ctrl-C, or Ctrl-D at a question
"""


@click.group(
    name="claude-shim",
    cls=_Subcommands,
    invoke_without_command=True,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    None, "-V", "--version", package_name="claude-shim", message="claude-shim %(version)s"
)
@click.pass_context
def group(context: click.Context) -> None:
    """Conversations with Claude Code that survive restarts.

    The program `claude` that `install` writes continues the conversation of the current room and
    agent. These commands show which conversation is whose, and put things right. `claude-shim help`
    says how it all works, and what to do if not.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())

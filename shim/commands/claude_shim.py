"""The command group `claude-shim`."""

from __future__ import annotations

from importlib import import_module

import click

# By what one wants to do. Each is a module of this package with a `command`, imported only when it
# is called.
_SECTIONS = {
    "Find, read and open conversations": ("list", "search", "read", "show", "open"),
    "Choose what a room resumes, and delete": ("link", "forget", "delete", "prune"),
    "See who is live, and whether all is well": ("ps", "status", "doctor", "explain"),
    "Share and move rooms": ("fleet", "export", "import"),
    "Set up": ("install", "uninstall", "init", "completion", "opencode", "which"),
    "Learn more": ("help", "version"),
}
SUBCOMMANDS = tuple(name for names in _SECTIONS.values() for name in names)
# Characters of a command's line of help: the first sentence of each.
_LONGEST = 200
# Names of other programs' subcommands, which people try.
_MEANT = {
    "ls": "Did you mean 'list'?",
    "grep": "Did you mean 'search'?",
    "find": "Did you mean 'search'?",
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

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, SUBCOMMANDS))
        for title, names in _SECTIONS.items():
            commands = ((name, self.get_command(context, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl(
                    [(f"{n:{width}}", c.get_short_help_str(_LONGEST)) for n, c in commands if c]
                )

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _MEANT:
            context.fail(f"No such command '{args[0]}'. {_MEANT[args[0]]}")
        if args[0] not in SUBCOMMANDS and (close := _close_to(args[0])):
            context.fail(f"No such command '{args[0]}'. Did you mean '{close}'?")
        return super().resolve_command(context, args)


def _close_to(word: str) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(word, SUBCOMMANDS, n=1)), None)


_EPILOG = """\b
Examples:
  claude-shim install              write the launcher; prints what to do next
  claude-shim open refactor        open a room's conversation
  claude-shim list                 list rooms and their conversations
  claude-shim search heron         find what was said, in any room
  claude-shim forget refactor      have the next call start a new one

\b
Exit codes:
  0    success
  1    failure, or nothing to act on; doctor: something needs a fix
  2    wrong usage
  75   in use by a claude, or the store is locked: try again later
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

    `install` writes a program named `claude` that resumes the conversation of the current room and
    agent. The other commands list, move, repair and delete conversations. `claude-shim help` shows
    the manual.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())

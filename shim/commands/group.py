"""The `claude-shim` command itself, which its subcommands are part of."""

import click

from shim.commands.install import install
from shim.commands.uninstall import uninstall


@click.group(name="claude-shim", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="claude-session-shim", message="claude-shim %(version)s")
def group() -> None:
    """Conversations with Claude Code that survive restarts."""


group.add_command(install)
group.add_command(uninstall)

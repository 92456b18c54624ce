"""`claude-shim`: what a person does about the shim, one module a subcommand."""

import click

from shim.commands.install import install
from shim.commands.uninstall import uninstall


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="claude-session-shim", message="claude-shim %(version)s")
def main() -> None:
    """Conversations with Claude Code that survive restarts."""


main.add_command(install)
main.add_command(uninstall)

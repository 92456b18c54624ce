"""`claude-shim opencode`: install the plugin that gives each OpenCode session a room."""

from __future__ import annotations

import sys

import click

from shim.base.messages import Failure
from shim.cli.output import as_json, show_json
from shim.opencode import plugin
from shim.opencode.plugin import CURRENT, FOREIGN, MISSING, OUTDATED

_SAYS = {
    CURRENT: "{path} is there and current.",
    OUTDATED: "{path} is outdated: `{install}` renews it.",
    MISSING: "{path} is missing: `{install}` writes it.",
    FOREIGN: "{path} is not ours: move it away, then `{install}` writes it.",
}

_VERSIONS = (
    "OpenCode 1 (tested: 1.18.33) and OpenCode 2 (tested: a stand-in) load it. "
    "What is known of version 2: claude-shim help opencode"
)

_project = click.option(
    "--project", is_flag=True, help="In this directory's .opencode, for this project alone."
)


@click.group(
    "opencode",
    short_help="Install the plugin for OpenCode: a room for each session.",
    invoke_without_command=True,
)
@click.pass_context
def command(context: click.Context) -> None:
    """The plugin for OpenCode: each OpenCode session and agent gets its own conversation.

    A claude that OpenCode starts, from an agent's shell or as a provider, gets the room `oc-` + the
    id of the root session, and OpenCode's agent. If you start OpenCode with NSED_ROOM_ID or
    NSED_AGENT_NAME, those win.

    OpenCode 1 and OpenCode 2 load the same plugin. With version 2 it was tested against a stand-in
    only, and a name that OpenCode is started with does not count: claude-shim help opencode.

    The plugin is one file, plugin/claude-shim.js in $OPENCODE_CONFIG_DIR, else in
    $XDG_CONFIG_HOME/opencode, else in ~/.config/opencode.

    \b
      claude-shim opencode install             for all your projects
      claude-shim opencode install --project   for this one
      claude-shim opencode status
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@command.command("install")
@_project
def install(project: bool) -> None:
    """Write the plugin where OpenCode finds it.

    It is safe to run again: after an update it renews the plugin. It replaces no other file.
    """
    path = plugin.path(project)
    try:
        before = plugin.install(path)
    except Failure as problem:
        raise click.ClickException(str(problem)) from problem
    if before == CURRENT:
        click.echo(f"{path} is there and current: nothing to do.")
        return
    click.echo(f"{'Wrote' if before == MISSING else 'Renewed'} {path}")
    click.echo("OpenCode loads it when it next starts.")


@command.command("uninstall")
@_project
def uninstall(project: bool) -> None:
    """Remove the plugin, and no other file. Conversations stay."""
    path = plugin.path(project)
    try:
        before = plugin.uninstall(path)
    except Failure as problem:
        raise click.ClickException(str(problem)) from problem
    if before == MISSING:
        click.echo(f"There is no {path}: nothing to do.")
        return
    click.echo(f"Removed {path}")
    click.echo("An OpenCode that runs now has it until it ends.")


@command.command("status")
@_project
@as_json
def status(project: bool, as_json: bool) -> None:
    """Show whether the plugin is current, outdated, missing, or another program's file.

    If it is missing or another program's, the exit code is 1.

    \b
      claude-shim opencode status --json | jq -r .state
    """
    path = plugin.path(project)
    try:
        state = plugin.state(path)
    except Failure as problem:
        raise click.ClickException(str(problem)) from problem
    if as_json:
        show_json({"path": str(path), "state": state})
    else:
        how = "claude-shim opencode install" + (" --project" if project else "")
        click.echo(_SAYS[state].format(path=path, install=how))
        click.echo(_VERSIONS)
    if state in (MISSING, FOREIGN):
        sys.exit(1)

"""`claude-shim opencode`: the plugin that gives OpenCode's conversations and agents their names."""

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

_project = click.option(
    "--project", is_flag=True, help="In this directory's .opencode, instead of for all of yours."
)


@click.group(
    "opencode",
    short_help="The plugin for OpenCode: a claude for each conversation.",
    invoke_without_command=True,
)
@click.pass_context
def command(context: click.Context) -> None:
    """The plugin for OpenCode: each conversation and each agent gets its own claude.

    A claude that OpenCode starts, from an agent's shell or as a provider, gets the room `oc-` and
    the id of the conversation's root session, and OpenCode's agent as its agent. NSED_ROOM_ID and
    NSED_AGENT_NAME, where OpenCode is started with them, win.

    The plugin is one file, claude-shim.js, in the folder `plugin` of $OPENCODE_CONFIG_DIR, else of
    opencode in $XDG_CONFIG_HOME or ~/.config.

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

    Safe to run again: after an update it renews the plugin. It replaces no file that is not ours.
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
    """Remove the plugin, and nothing that is not ours. Conversations stay as they are."""
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
    """Whether the plugin is current, outdated or missing, or another file is in its place.

    Where it is not there, or another file is, the exit code is 1.

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
    if state in (MISSING, FOREIGN):
        sys.exit(1)

"""`claude-shim help`: the manual, a topic at a time."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from shim.base import settings
from shim.cli import advice, mapped, pages

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDEST = 100
_BEFORE = "# The manual: claude-shim help TOPIC\n"
_AFTER = "\nFor the commands, see `claude-shim --help`."


class _Subject(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 or so only
    name = "topic"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        them = {**pages.topics(), **{it.name: it.meaning for it in settings.table().values()}}
        return [CompletionItem(it, help=them[it]) for it in them if it.startswith(incomplete)]


@click.command("help")
@click.argument("subject", metavar="[TOPIC]", nargs=-1, type=_Subject())
@click.pass_context
def command(context: click.Context, subject: tuple[str, ...]) -> None:
    """Show a page of the manual. Without TOPIC, list the pages.

    TOPIC can also be a command, an environment variable, or a warning in quotes: then it shows what
    to do about that.

    \b
      claude-shim help how-it-works
      claude-shim help NSED_ON_BUSY
      claude-shim help "claude-shim: ... stays locked by another process"
    """
    text = " ".join(subject)
    if not subject:
        _show(f"{_BEFORE}\n{pages.contents()}\n{_AFTER}")
    elif text in pages.topics():
        _show(pages.page(text))
    elif text in settings.table():
        _show(pages.setting_item(settings.table()[text]))
    elif found := _command(context.find_root(), subject):
        click.echo(found.get_help())
    elif fitting := advice.about(text):
        _show(fitting.what_to_do)
    else:
        known = [*pages.topics(), *settings.table(), *_names(context.find_root())]
        close = mapped.close_to(text, known) or ": `claude-shim help` lists what there is"
        raise click.ClickException(f"there is no page on {text!r}{close}")


def _names(root: click.Context) -> list[str]:
    group = root.command
    return group.list_commands(root) if isinstance(group, click.Group) else []


def _command(root: click.Context, words: Sequence[str]) -> click.Context | None:
    """The context of a subcommand, or of one of a subcommand's own."""
    context = root
    for word in words:
        group = context.command
        found = group.get_command(context, word) if isinstance(group, click.Group) else None
        if found is None:
            return None
        context = click.Context(found, parent=context, info_name=word)
    return context


def _show(markdown: str) -> None:
    size = shutil.get_terminal_size()
    lines = list(pages.rendered(markdown, min(size.columns, _WIDEST)))
    text = "\n".join(lines) + "\n"
    if len(lines) < size.lines:
        click.echo(text, nl=False)
    else:
        click.echo_via_pager(text)  # on a terminal; elsewhere it is printed

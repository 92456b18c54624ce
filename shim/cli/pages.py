"""The manual: the Markdown pages of `shim/help`, in order, and how a terminal shows one."""

from __future__ import annotations

import json
import re
import textwrap
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shim.base import settings
from shim.cli import advice
from shim.cli.output import bold
from shim.cli.tables import table, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).parents[1] / "help"
SECTIONS = {
    "Start": ("installing", "conversations", "finding", "troubleshooting"),
    "Callers": ("callers", "opencode", "bots", "nsed", "containers"),
    "Several machines": ("fleet",),
    "Background": ("how-it-works", "retention", "trust", "performance"),
    "Reference": ("environment", "exit-codes", "store", "fleet-format", "changes"),
    "The code": ("developing", "facts"),
}
"""Every topic, in the order in which you come to need it."""
_INDENT = 2
# A narrower column is hard to read.
_NARROWEST = 24
_ITEM = re.compile(r"( *)([-*]|\d+\.) +")
_BREAK = re.compile(r"```|#|\||\s*$")


def topics() -> dict[str, str]:
    """Every topic with the title of its page, in the manual's order."""
    return {topic: _title(topic) for section in SECTIONS.values() for topic in section}


def contents() -> str:
    """The table of contents as Markdown, one table a section."""
    tables = []
    for section, its_topics in SECTIONS.items():
        rows = [f"| {topic} | {_title(topic)} |" for topic in its_topics]
        tables.append("\n".join([f"| {section} | |", "|---|---|", *rows]))
    return "\n\n".join(tables)


def _title(topic: str) -> str:
    return (FOLDER / f"{topic}.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")


def page(topic: str) -> str:
    """A topic's page as Markdown, with the parts that are generated from tables in the code."""
    text = (FOLDER / f"{topic}.md").read_text("utf-8")
    return re.sub(r"^{{(\w+)}}$", lambda match: _PARTS[match[1]](), text, flags=re.MULTILINE)


def setting_item(setting: settings.Setting) -> str:
    """One environment variable as an item of a page."""
    return (
        f"- `{setting.name}`: {setting.meaning} Takes {setting.kind}."
        f" Unset: {setting.default}. Read by {setting.readers}."
    )


def rendered(markdown: str, cells: int) -> Iterator[str]:
    """A page as lines for a terminal of so many cells, without comments; code is not wrapped."""
    lines = re.sub(r"<!--.*?-->\n*", "", markdown, flags=re.DOTALL).splitlines()
    while lines:
        line = lines.pop(0)
        if line.startswith("```"):
            while lines and not (line := lines.pop(0)).startswith("```"):
                yield (" " * 2 * _INDENT + line).rstrip()
        elif line.startswith("#"):
            yield from map(bold, _wrapped(line.lstrip("# "), cells, indent=0))
        elif line.startswith("|"):
            rows = [line]
            while lines and lines[0].startswith("|"):
                rows.append(lines.pop(0))
            yield from _table([_cells(row) for row in rows], cells - _INDENT)
        elif not line.strip():
            yield ""
        else:
            item = _ITEM.match(line)
            while lines and not _BREAK.match(lines[0]) and not _ITEM.match(lines[0]):
                line += " " + lines.pop(0).strip()
            yield from _wrapped(line, cells, len(item[0]) if item else 0)


def _settings() -> str:
    parts = []
    for section, group in groupby(settings.table().values(), key=lambda it: it.section):
        parts += [f"## {section}\n", *map(setting_item, group), ""]
    return "\n".join(parts)


def _schemas() -> str:
    """The tables of fields of each file and each `--json`."""
    parts = []
    for schema in json.loads((FOLDER / "schemas.json").read_text("utf-8"))["$defs"].values():
        parts += [f"### {schema['title']}", "", schema["description"], ""]
        fields = schema.get("properties", {})
        rows = [f"| `{name}` | {_type(it)} | {it['description']} |" for name, it in fields.items()]
        parts += ["| field | value | meaning |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join(parts)


def _type(schema: dict[str, Any]) -> str:
    them = schema.get("enum") or [schema.get("const", schema.get("type"))]
    flat = [each for one in them for each in (one if isinstance(one, list) else [one])]
    return " or ".join("null" if each is None else str(each) for each in flat)


# The parts that a page includes as `{{name}}`, on a line of its own.
_PARTS = {"settings": _settings, "advice": advice.markdown, "schemas": _schemas}


def _plain(text: str) -> str:
    """Text without Markdown's marks, but with backquotes, which mark what is to be typed."""
    return re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"\1 (\2)", text).replace("**", "")


def _wrapped(text: str, cells: int, hang: int = 0, indent: int = _INDENT) -> list[str]:
    return textwrap.wrap(
        _plain(text),
        max(cells, _NARROWEST),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cells(row: str) -> list[str]:
    inner = re.split(r"(?<!\\)\|", row.strip().removeprefix("|").removesuffix("|"))
    return [_plain(cell.strip().replace("\\|", "|")) for cell in inner]


def _table(rows: Sequence[list[str]], cells: int) -> Iterator[str]:
    """A table with its widest columns wrapped until it fits; else one record for each row."""
    rows = [rows[0], *rows[2:]]
    columns = list(zip(*rows, strict=True))
    widths = [max(map(width, column)) for column in columns]
    # Words are not broken: they may be names to copy.
    words = [max(map(width, " ".join(column).split()), default=0) for column in columns]
    least = [max(word, min(_NARROWEST, whole)) for word, whole in zip(words, widths, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > cells:
        wrappable = [at for at, whole in enumerate(widths) if whole > least[at]]
        if not wrappable:
            yield from _records(rows[0], rows[1:], cells)
            return
        widths[max(wrappable, key=widths.__getitem__)] -= 1
    lines = [
        pieces for row in rows for pieces in zip_longest(*map(_pieces, row, widths), fillvalue="")
    ]
    for line in table(lines[0], lines[1:]):
        yield " " * _INDENT + line


def _pieces(cell: str, cells: int) -> list[str]:
    return textwrap.wrap(cell, max(cells, 1), break_on_hyphens=False) or [""]


def _records(header: list[str], body: Sequence[list[str]], cells: int) -> Iterator[str]:
    for row in body:
        yield from _wrapped(row[0] or "-", cells + _INDENT)
        for title, cell in zip(header[1:], row[1:], strict=True):
            if cell:
                text = f"{title}: {cell}" if len(header) > 2 else cell
                yield from _wrapped(text, cells + _INDENT, indent=2 * _INDENT)

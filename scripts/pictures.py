"""The pictures of the README as SVG, light and dark: a terminal, and where the shim stands."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Theme(NamedTuple):
    """The colours of a picture."""

    name: str
    background: str
    frame: str
    text: str
    dim: str
    accent: str
    fill: str


LIGHT = Theme("light", "#ffffff", "#d0d7de", "#1f2328", "#59636e", "#0969da", "#f6f8fa")
DARK = Theme("dark", "#0d1117", "#3d444d", "#f0f6fc", "#9198a1", "#4493f8", "#151b23")
MONOSPACE = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "-apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"

# Pixels: of a character and a line of the terminal, and around its text.
CHARACTER, LINE, MARGIN, TITLE = 8.0, 20, 20, 34


def write(directory: Path, lines: Sequence[str]) -> None:
    """Write every picture in both themes; `lines` are what the terminal shows."""
    directory.mkdir(parents=True, exist_ok=True)
    for theme in (LIGHT, DARK):
        (directory / f"demo-{theme.name}.svg").write_text(terminal(lines, theme), "utf-8")
        (directory / f"overview-{theme.name}.svg").write_text(overview(theme), "utf-8")


def terminal(lines: Sequence[str], theme: Theme) -> str:
    """A window with these lines: commands after `$ ` in bold, comments after `# ` dimmed."""
    width = int(max(map(len, lines)) * CHARACTER) + 2 * MARGIN
    height = TITLE + len(lines) * LINE + MARGIN
    parts = [
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"'
        f' fill="{theme.background}" stroke="{theme.frame}"/>'
    ]
    parts += [
        f'<circle cx="{MARGIN + 18 * at}" cy="18" r="5" fill="{theme.frame}"/>' for at in range(3)
    ]
    for number, line in enumerate(lines):
        style = f'fill="{theme.text}"'
        if line.startswith("$ "):
            style = f'fill="{theme.accent}" font-weight="600"'
        elif line.startswith("# "):
            style = f'fill="{theme.dim}"'
        # Every line has its width, whatever font there is.
        parts.append(
            f'<text x="{MARGIN}" y="{TITLE + LINE * number + 14}" {style} xml:space="preserve"'
            f' textLength="{len(line) * CHARACTER:g}">{escape(line)}</text>'
            if line
            else ""
        )
    return _svg(width, height, f'font-family="{MONOSPACE}" font-size="13"', filter(None, parts))


def overview(theme: Theme) -> str:
    """Callers on the left, the launcher in the middle, the real claude on the right."""
    callers = ("you, at a terminal", "scripts, cron, CI", "bots, Agent SDKs", "OpenCode, NSED")
    parts = [
        f'<marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
        f' orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" fill="{theme.dim}"/></marker>',
        f'<rect x="0.5" y="0.5" width="859" height="269" rx="10" fill="{theme.background}"'
        f' stroke="{theme.frame}"/>',
    ]
    for at, caller in enumerate(callers):
        y = 24 + 38 * at
        parts += _box(theme, 20, y, 170, 30, [caller])
        parts.append(_arrow(theme, 190, y + 15, 318, 95))
    parts.append(_label(theme, 262, 46, "run claude"))
    parts += _box(theme, 320, 40, 220, 110, [], strong=True)
    rows = [
        "claude-shim",
        "which room? which agent?",
        "a live claude? wait, or fork",
        "which transcript?",
    ]
    parts += [_words(theme, 430, 66 + 23 * at, row, at == 0) for at, row in enumerate(rows)]
    parts.append(_arrow(theme, 540, 95, 658, 95))
    parts.append(_label(theme, 598, 84, "becomes"))
    parts += _box(theme, 660, 60, 180, 70, ["the real claude", "--resume <session id>"])
    parts += _box(theme, 320, 205, 220, 44, ["~/.nsed", "rooms, pins, copies"])
    parts.append(_arrow(theme, 430, 205, 430, 152, both=True))
    parts += _box(theme, 660, 205, 180, 44, ["~/.claude", "transcripts"])
    parts.append(_arrow(theme, 750, 205, 750, 132, both=True))
    parts.append(_arrow(theme, 542, 227, 658, 227))
    parts.append(_label(theme, 600, 218, "pins"))
    parts += _box(theme, 20, 205, 170, 44, ["a NATS server", "your other machines"])
    parts.append(_arrow(theme, 192, 227, 318, 227, both=True))
    parts.append(_label(theme, 255, 244, "only in a fleet"))
    return _svg(860, 270, f'font-family="{SANS}" font-size="13" text-anchor="middle"', parts)


def _box(
    theme: Theme, x: int, y: int, width: int, height: int, rows: Sequence[str], strong: bool = False
) -> list[str]:
    stroke = f'stroke="{theme.accent}" stroke-width="2"' if strong else f'stroke="{theme.frame}"'
    first = y + height / 2 + 5 - 9 * (len(rows) - 1)
    return [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{theme.fill}"'
        f" {stroke}/>",
        *(
            _words(theme, x + width // 2, first + 18 * at, row, at == 0)
            for at, row in enumerate(rows)
        ),
    ]


def _words(theme: Theme, x: float, y: float, text: str, strong: bool) -> str:
    style = f'fill="{theme.text}" font-weight="600"' if strong else f'fill="{theme.dim}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>'


def _label(theme: Theme, x: float, y: float, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="12" fill="{theme.dim}">{escape(text)}</text>'


def _arrow(theme: Theme, x: int, y: int, to_x: int, to_y: int, both: bool = False) -> str:
    start = ' marker-start="url(#end)"' if both else ""
    return (
        f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{theme.dim}"'
        f' marker-end="url(#end)"{start}/>'
    )


def _svg(width: int, height: int, style: str, parts: Iterable[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" {style}>'
    )
    return "\n".join([head, *parts, "</svg>", ""])

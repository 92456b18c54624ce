"""The `console` blocks of the README and of the pages, run and compared with what they show.

In a block, a line with `$ ` in front is a command and the others are what it prints, on stdout and
stderr. `…` stands for anything within a line, a line of it alone for any lines. Session ids, ages,
times, sizes, process ids, versions and the width of columns may differ from what is shown; the
user's home is `/home/ada`. A comment `<!-- given … -->` before a block has commands that are run
first, in the same world and unseen.
"""

import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import shim
from shim.claude.transcripts import project_name
from shim.cli.pages import FOLDER
from tests.support.recorder import World, write_program

README = FOLDER.parents[1] / "README.md"
HOME = "/home/ada"
_FILES = (README, *sorted(FOLDER.glob("*.md")))

_BLOCK = re.compile(
    r"(?:^<!-- given\n(?P<given>(?:(?!-->).*\n)*)-->\n+)?"
    r"^```console\n(?P<lines>(?:(?!```).*\n)*)```$",
    re.MULTILINE,
)
_END = "end of what a command says"
_ANY = "\N{HORIZONTAL ELLIPSIS}"
_MAY_DIFFER = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "TIME"),
    (r"(\d+ (s|min|h|days|months|years) ago)", "AGE"),
    (r"for \d+ (s|min|h)\b", "for SPAN"),
    (r"~?[\d.,]+ (B|kB|MB|GB|TB)\b", "SIZE"),
    (r"\bclaude \d+", "claude PID"),
    (r"\b\d+\.\d+\.\d+\b", "VERSION"),
    (r"[ \t]+", " "),
)
# It keeps a transcript as claude does, and knows what it was told: enough for every block.
_CLAUDE = """\
#!/bin/sh
case $* in
  --version) echo "2.1.330 (Claude Code)"; exit ;;
  --help) printf 'Usage\\n\\nOptions:\\n  -r, --resume [value]\\n\\nCommands:\\n  mcp\\n'; exit ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --session-id|--resume) id=$2; shift ;;
    --output-format) shift ;;
    -*) ;;
    *) prompt=$1 ;;
  esac
  shift
done
[ "$prompt" ] || prompt=$(cat)
id=${id##*/}
project=$HOME/.claude/projects/$(pwd | tr -c 'a-zA-Z0-9\\n' -)
mkdir -p "$project"
transcript=$project/${id%.jsonl}.jsonl
count=$(cat "$transcript" 2>/dev/null | wc -l)
parent=null
[ "$count" -eq 0 ] || parent="\\"$((count))\\""
case $prompt in
  Remember*) answer=OK ;;
  Which*) answer=$(sed -n 's/.*the word \\([a-z]*\\).*/\\1/p' "$transcript") ;;
  *) answer= ;;
esac
{
  printf '{"type":"user","uuid":"%s","parentUuid":%s,' $((count + 1)) "$parent"
  printf '"cwd":"%s","timestamp":"2026-07-30T09:31:12Z",' "$PWD"
  printf '"message":{"role":"user","content":"%s"}}\\n' "$prompt"
  printf '{"type":"assistant","uuid":"%s","parentUuid":"%s",' $((count + 2)) $((count + 1))
  printf '"timestamp":"2026-07-30T09:31:13Z","message":{"role":"assistant",'
  printf '"content":"%s","stop_reason":"end_turn"}}\\n' "$answer"
} >>"$transcript"
[ -z "$answer" ] || echo "$answer"
"""


class Block(NamedTuple):
    """A `console` block: where it stands, what is run before it, and what it shows."""

    path: Path
    line: int
    given: list[str]
    steps: list[tuple[str, list[str]]]
    """Each command, with the lines that it prints."""


def blocks() -> list[Block]:
    """Every block of the README and of the pages."""
    found = []
    for path in _FILES:
        text = path.read_text("utf-8")
        for match in _BLOCK.finditer(text):
            steps: list[tuple[str, list[str]]] = []
            for line in match["lines"].splitlines():
                if line.startswith("$ "):
                    steps.append((line[2:], []))
                else:
                    steps[-1][1].append(line)
            given = (match["given"] or "").splitlines()
            found.append(Block(path, text.count("\n", 0, match.start("lines")), given, steps))
    return found


def recipes() -> list[tuple[Path, str]]:
    """The programs in Python that the README and the pages show."""
    pattern = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(path, code) for path in _FILES for code in pattern.findall(path.read_text("utf-8"))]


def set_up(world: World) -> None:
    """Make a world one in which blocks can be typed: `claude-shim` on PATH, and a claude."""
    # The settings of the tests' own Python do not reach programs.
    program = f"import sys; sys.path[:0] = [{str(Path(shim.__file__).parents[1])!r}]\n"
    program += "from shim.commands.__main__ import main\nmain()\n"
    tools = world.home / ".local" / "bin"
    write_program(tools / "claude-shim", f"#!{sys.executable}\n{program}")
    write_program(tools / "claude", _CLAUDE)
    world.environment |= {"SHELL": "/bin/bash", "LANG": "C.UTF-8"}
    world.path(world.home / ".nsed" / "bin", tools, "/usr/bin", "/bin")
    world.directory = world.home / "app"
    world.directory.mkdir()


def typed(world: World, block: Block) -> list[list[str]]:
    """What each command of a block prints, run in one shell, in a world that was set up."""
    script = [f"{{ {line}\n}} >/dev/null 2>&1" for line in block.given]
    for command, _ in block.steps:
        script.append(f"{{ {command}\n}} 2>&1 </dev/null; echo; echo {shlex.quote(_END)}")
    run = world.run("-c", "\n".join(script), program=Path("/bin/bash"))
    text = run.stdout.decode().replace(str(world.home), HOME)
    text = text.replace(project_name(str(world.home)), project_name(HOME))
    said = text.split(f"\n{_END}\n")
    assert (run.stderr, said[-1]) == (b"", ""), (run.stderr, said)
    return [text.rstrip("\n").splitlines() for text in said[:-1]]


def agree(shown: list[str], printed: list[str]) -> bool:
    """Whether what a block shows is what was printed."""
    pattern = "\n".join(
        ".*" if line == _ANY else ".*?".join(map(re.escape, line.split(_ANY)))
        for line in map(_shape, shown)
    )
    # Only a line of `…` alone goes over line ends.
    pattern = re.sub(r"(^|\n)\.\*(?=\n|$)", r"\1(?s:.*)", pattern).replace("\n(?s:.*)", "(?s:.*)")
    return re.fullmatch(pattern, "\n".join(map(_shape, printed))) is not None


def _shape(line: str) -> str:
    for what, name in _MAY_DIFFER:
        line = re.sub(what, name, line)
    return line.rstrip()

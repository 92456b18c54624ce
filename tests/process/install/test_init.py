"""`claude-shim init`: what it prints, run by the shells themselves."""

import os
import shutil
import sys
from pathlib import Path

import pexpect
import pytest

import shim
from tests.support.recorder import PATIENCE, Run, World, write_program

PACKAGE = Path(shim.__file__).parent
# bash is on every machine; where the others are, they are asked too.
SHELLS = [name for name in ("bash", "zsh", "fish") if name == "bash" or shutil.which(name)]
ODD = "it's a $HOME `bin` \\ *[x] é🙂"


@pytest.fixture(autouse=True)
def program(world: World) -> Path:
    """claude-shim itself, on PATH."""
    text = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(PACKAGE.parent)!r})\n"
    text += "from shim.commands.__main__ import main\nmain()\n"
    path = write_program(world.root / "program" / "claude-shim", text)
    world.path(path.parent, "/usr/bin", "/bin")
    world.environment["LANG"] = "C.UTF-8"
    return path


def init(world: World, *args: str) -> Run:
    return world.run("init", *args, program=world.root / "program" / "claude-shim")


def told(world: World, *args: str) -> str:
    run = init(world, *args)
    assert (run.exit_code, run.stderr) == (0, b"")
    return run.stdout.decode()


def shell(world: World, name: str, script: str, **env: str) -> list[str]:
    """The lines that a shell prints, which reads no start-up file."""
    no_files = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
    run = world.run(*no_files, "-c", script, program=Path(shutil.which(name) or name), env=env)
    assert (run.exit_code, run.stderr) == (0, b"")
    return run.stdout.decode().splitlines()


# PATH


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("directory", ["bin", ODD], ids=["plain", "odd"])
def test_the_launchers_directory_is_first_on_path_and_there_once(
    world: World, name: str, directory: str
) -> None:
    where = world.root / directory
    where.mkdir()
    code = world.root / "code"
    code.write_text(told(world, name, "--bin-dir", str(where)))
    before = world.environment["PATH"]
    again = f"set PATH /usr $PATH; source {code}"
    if name != "fish":
        again = f"PATH=/usr:$PATH; source {code}"

    lines = shell(world, name, f"source {code}; printenv PATH; {again}; printenv PATH")

    assert lines == [f"{where}:{before}", f"{where}:/usr:{before}"]


@pytest.mark.parametrize("name", [name for name in SHELLS if name != "fish"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/a::/b:", "{bin}:/a::/b:"),
        (":/a", "{bin}::/a"),
        ("/a:{bin}:/b:{bin}:{bin}", "{bin}:/a:/b"),
        ("{bin}", "{bin}"),
        ("{bin}x:/y{bin}", "{bin}:{bin}x:/y{bin}"),
        ("", "{bin}"),
    ],
)
def test_nothing_else_on_path_is_changed(world: World, name: str, before: str, after: str) -> None:
    where = world.root / "bin"
    code = world.root / "code"
    code.write_text(told(world, name, "--bin-dir", str(where)))

    script = f"set -eu; PATH={before.format(bin=where)}; . {code}; echo $PATH"

    assert shell(world, name, script) == [after.format(bin=where)]


def test_the_line_it_names_does_it_in_bash(world: World) -> None:
    (world.home / ".nsed" / "bin").mkdir(parents=True)
    world.environment["SHELL"] = "/bin/bash"
    comment, line = told(world).splitlines()
    assert comment.startswith("# Put this last into ~/.bash")
    (path,) = shell(world, "bash", f"{line}; printenv PATH")
    assert path.startswith(f"{world.home}/.nsed/bin:")


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ("/bin/bash", 'eval "$(claude-shim init bash)"'),
        ("/usr/bin/zsh", 'eval "$(claude-shim init zsh)"'),
        ("/opt/fish", "claude-shim init fish | source"),
    ],
)
def test_without_an_argument_it_says_what_to_put_where(world: World, own: str, line: str) -> None:
    world.environment["SHELL"] = own
    comment, said = told(world).splitlines()
    assert comment.startswith("# Put this last into ~/.")
    assert said == line


def test_of_an_unknown_shell_it_says_all_it_knows(world: World) -> None:
    world.environment["SHELL"] = "/bin/tcsh"
    assert len(told(world).splitlines()) == 6


def test_a_directory_that_cannot_be_on_path_is_refused(world: World) -> None:
    run = init(world, "bash", "--bin-dir", str(world.root / "a:b"))
    assert run.exit_code == 1
    assert "has a colon in its name" in run.warning
    assert run.stdout == b""


def test_another_shell_is_refused_in_one_line(world: World) -> None:
    run = init(world, "tcsh")
    assert run.exit_code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in run.warning


def test_the_code_for_fish(world: World) -> None:
    assert told(world, "fish", "--bin-dir", "/it's") == (
        "fish_add_path --global --move --path '/it\\'s'\n"
        "\n"
        "function _claude_shim_completion\n"
        "    for item in (env _CLAUDE_SHIM_COMPLETE=fish_complete"
        " COMP_WORDS=(commandline -cp) \\\n"
        "            COMP_CWORD=(commandline -t) claude-shim 2>/dev/null)\n"
        "        set -l parts (string split -m 1 , -- $item)\n"
        "        switch $parts[1]\n"
        "            case dir\n"
        "                __fish_complete_directories $parts[2]\n"
        "            case file\n"
        "                __fish_complete_path $parts[2]\n"
        "            case plain\n"
        "                echo $parts[2]\n"
        "        end\n"
        "    end\n"
        "end\n"
        'complete --no-files --command claude-shim --arguments "(_claude_shim_completion)"\n'
    )


def test_the_code_for_zsh(world: World) -> None:
    first_on_path, _, completion = told(world, "zsh", "--bin-dir", "/bin").partition("\n\n")
    assert first_on_path == told(world, "bash", "--bin-dir", "/bin").partition("\n\n")[0]
    assert completion == (
        "# Without compinit, zsh knows compctl, and with it asks there too where it has nothing"
        " of its own.\n"
        "# zsh 5.9 never finds a name with a dash in compctl's list, but finds a pattern.\n"
        "_claude_shim_completion() {\n"
        "  local -a lines plain described\n"
        "  local kind value help\n"
        '  lines=("${(@f)$(env _CLAUDE_SHIM_COMPLETE=zsh_complete COMP_WORDS="${words[*]}" \\\n'
        '    COMP_CWORD=$((CURRENT-1)) $words[1] 2>/dev/null)}")\n'
        "  for kind value help in $lines; do\n"
        "    case $kind in\n"
        "      (dir) _path_files -/; return ;;\n"
        "      (file) _path_files -f; return ;;\n"
        '      (plain) [[ $help == _ ]] && plain+=("$value") || described+=("$value:$help") ;;\n'
        "    esac\n"
        "  done\n"
        "  local nothing=1\n"
        "  (( $#described )) && _describe -V commands described -U && nothing=0\n"
        "  (( $#plain )) && compadd -U -V values -a plain && nothing=0\n"
        "  return nothing\n"
        "}\n"
        "_claude_shim_compctl() {\n"
        "  local -a typed lines\n"
        "  local at\n"
        "  read -cA typed\n"
        "  read -cn at\n"
        '  lines=("${(@f)$(env _CLAUDE_SHIM_COMPLETE=fish_complete'
        ' COMP_WORDS="${(j: :)typed[1,at]}" \\\n'
        '    COMP_CWORD="$typed[at]" $typed[1] 2>/dev/null)}")\n'
        "  lines=(${(M)lines:#plain,*})\n"
        "  reply=(${${lines#plain,}%%$'\\t'*})\n"
        "}\n"
        "if (( $+functions[compdef] )); then\n"
        "  compdef _claude_shim_completion claude-shim\n"
        "else\n"
        "  compctl -K _claude_shim_compctl 'claude?shim'\n"
        "fi\n"
    )


# Completion, in bash as it is, at a terminal


@pytest.fixture
def bash(world: World) -> "pexpect.spawn[str]":
    """A bash at a terminal that has read the code; ~/answers is what claude-shim answers it.

    In the format in which click answers fish, because bash asks alike.
    """
    code = world.root / "code"
    code.write_text(told(world, "bash"))
    where = write_program(world.root / "answering" / "claude-shim", "#!/bin/sh\ncat ~/answers\n")
    world.environment |= {"TERM": "dumb", "PS1": "ready> ", "INPUTRC": "/dev/null"}
    environment = {name: os.fsdecode(value) for name, value in world.environment.items()}
    environment["PATH"] = f"{where.parent}:{environment['PATH']}"
    terminal = pexpect.spawn(
        "bash", ["--norc"], env=environment, encoding="utf-8", timeout=PATIENCE, cwd=world.directory
    )
    terminal.expect_exact("ready> ")
    terminal.sendline(f"source {code}; PATH=$PATH:")
    terminal.expect_exact("ready> ")
    return terminal


@pytest.mark.parametrize(
    ("answer", "typed", "completed"),
    [
        ("my room", "my\\ r", "my\\ room "),
        ("my room", '"my r', '"my room" '),
        ("my * star\tseen: today", "my", "my\\ \\*\\ star "),
        ("proj:main", "pro", "proj:main "),
        ("proj:main", "proj:m", "proj:main "),
        ("a=b", "a=", "a=b "),
        ("x,y", "x", "x\\,y "),
        ("it's", "i", "it\\'s "),
        ("rüm🙂", "r", "rüm🙂 "),
    ],
)
def test_odd_names_are_completed(
    world: World, bash: "pexpect.spawn[str]", answer: str, typed: str, completed: str
) -> None:
    (world.home / "answers").write_text(f"plain,{answer}\n")
    bash.send(f"claude-shim show {typed}\t")
    bash.expect_exact(f"claude-shim show {completed}")
    bash.close(force=True)


@pytest.mark.parametrize("typed", ['"$', "'$", '"', "'", 'a"', "$'", '"!'])
@pytest.mark.parametrize("answer", ["$(touch ran)", 'a`touch ran`"', "';touch ran;'"])
def test_no_name_is_run_or_expanded(
    world: World, bash: "pexpect.spawn[str]", answer: str, typed: str
) -> None:
    (world.home / "answers").write_text(f"plain,{answer}\n")
    bash.send(f"claude-shim show {typed}\t\n")
    bash.expect_exact("> ")  # a quote that stays open has bash ask for more
    bash.close(force=True)
    assert not (world.directory / "ran").exists()


def test_between_quotes_a_name_that_needs_none_is_completed(
    world: World, bash: "pexpect.spawn[str]"
) -> None:
    (world.home / "answers").write_text("plain,my room\nplain,my $(touch ran)\n")
    bash.send('claude-shim show "my\t')
    bash.expect_exact('claude-shim show "my room" ')
    bash.close(force=True)


def test_subcommands_are_completed(world: World) -> None:
    code = world.root / "code"
    code.write_text(told(world, "bash"))
    complete = (
        f"source {code}; COMP_LINE='claude-shim ini'; COMP_POINT=15; COMP_CWORD=1;"
        " COMP_WORDS=(claude-shim ini); _claude_shim_completion claude-shim;"
        ' echo "${COMPREPLY[@]}"'
    )
    assert shell(world, "bash", complete) == ["init"]

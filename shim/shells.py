"""What a shell's start-up file needs: the launcher first on PATH, and completion."""

import os
import shlex
import shutil
import sys
from pathlib import Path

NAMES = ("bash", "zsh", "fish")

_START_UP_FILES = {
    # A login shell, as macOS starts in each window, reads no other.
    "bash": "~/.bash_profile" if sys.platform == "darwin" else "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/config.fish",
}

_FIRST_ON_PATH = """\
_claude_shim_first() {{
  PATH=${{PATH:+:$PATH}}:
  while case $PATH in (*:"$1":*) ;; (*) false ;; esac; do
    PATH=${{PATH%%:"$1":*}}:${{PATH#*:"$1":}}
  done
  PATH=$1$PATH
  PATH=${{PATH%:}}
  export PATH
}}
_claude_shim_first {directory}
unset -f _claude_shim_first
"""

# bash has no word of its own for what is being completed: it takes words apart at `:` and `=` too.
# So it asks as fish does, with the line up to the cursor and the word.
_BASH = (
    _FIRST_ON_PATH
    + """
_claude_shim_completion() {{
  local line=${{COMP_LINE:0:COMP_POINT}} at=$COMP_CWORD word=${{COMP_WORDS[COMP_CWORD]}} item kept
  while [[ $at -gt 1 && $line != *[[:space:]]"$word" ]]; do
    word=${{COMP_WORDS[--at]}}$word
  done
  kept=${{word%"${{word##*[:=]}}"}}
  COMPREPLY=()
  while IFS= read -r item; do
    item=${{item%%$'\\t'*}}
    case $item in
      dir,*) compopt -o dirnames 2>/dev/null ;;
      file,*) compopt -o default 2>/dev/null ;;
      plain,*)
        item=${{item#plain,}}
        [[ $word == [\\"\\']* ]] || printf -v item %q "$item"
        COMPREPLY+=("${{item#"$kept"}}")
        ;;
    esac
  done < <(env _CLAUDE_SHIM_COMPLETE=fish_complete COMP_WORDS="$line" COMP_CWORD="$word" \\
    "$1" 2>/dev/null)
}}
complete -o nosort -F _claude_shim_completion claude-shim 2>/dev/null ||
  complete -F _claude_shim_completion claude-shim
"""
)

# Without compinit, zsh knows compctl, and with it asks there too where it has nothing of its own.
# zsh 5.9 never finds a name with a dash in compctl's list, but finds a pattern.
_ZSH = (
    _FIRST_ON_PATH
    + """
_claude_shim_completion() {{
  local -a lines plain described
  local kind value help
  lines=("${{(@f)$(env _CLAUDE_SHIM_COMPLETE=zsh_complete COMP_WORDS="${{words[*]}}" \\
    COMP_CWORD=$((CURRENT-1)) $words[1] 2>/dev/null)}}")
  for kind value help in $lines; do
    case $kind in
      (dir) _path_files -/; return ;;
      (file) _path_files -f; return ;;
      (plain) [[ $help == _ ]] && plain+=("$value") || described+=("$value:$help") ;;
    esac
  done
  local nothing=1
  (( $#described )) && _describe -V commands described -U && nothing=0
  (( $#plain )) && compadd -U -V values -a plain && nothing=0
  return nothing
}}
_claude_shim_compctl() {{
  local -a typed lines
  local at
  read -cA typed
  read -cn at
  lines=("${{(@f)$(env _CLAUDE_SHIM_COMPLETE=fish_complete COMP_WORDS="${{(j: :)typed[1,at]}}" \\
    COMP_CWORD="$typed[at]" $typed[1] 2>/dev/null)}}")
  lines=(${{(M)lines:#plain,*}})
  reply=(${{${{lines#plain,}}%%$'\\t'*}})
}}
if (( $+functions[compdef] )); then
  compdef _claude_shim_completion claude-shim
else
  compctl -K _claude_shim_compctl 'claude?shim'
fi
"""
)

_FISH = """\
fish_add_path --global --move --path {directory}

function _claude_shim_completion
    for item in (env _CLAUDE_SHIM_COMPLETE=fish_complete COMP_WORDS=(commandline -cp) \\
            COMP_CWORD=(commandline -t) claude-shim 2>/dev/null)
        set -l parts (string split -m 1 , -- $item)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end
complete --no-files --command claude-shim --arguments "(_claude_shim_completion)"
"""
_CODE = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def own() -> str | None:
    """The name of the user's shell, as `SHELL` has it, or None for one that we know nothing of."""
    name = os.path.basename(os.environ.get("SHELL", ""))
    return name if name in NAMES else None


def start_up_file(shell: str) -> str:
    """The file that a shell reads as it starts."""
    return _START_UP_FILES[shell]


def code(shell: str, directory: Path) -> str:
    """What puts a directory first on PATH, and makes the shell complete `claude-shim`."""
    return _CODE[shell].format(directory=_quoted(shell, directory))


def own_program() -> str:
    """What to type for `claude-shim`: its name where PATH has it, else its path."""
    name = "claude-shim"
    path = os.path.abspath(sys.argv[0])
    return name if shutil.which(name) or os.path.basename(path) != name else path


def init_line(shell: str, directory: Path | None) -> str:
    """The line for the start-up file, that has `claude-shim` print the code.

    `directory` is the launcher's, where it is not the usual one.
    """
    words = [own_program(), "init", shell]
    if directory is not None:
        words += ["--bin-dir", str(directory)]
    command = " ".join(_quoted(shell, word) for word in words)
    return f"{command} | source" if shell == "fish" else f'eval "$({command})"'


def path_line(shell: str | None, directory: Path) -> str:
    """The line that puts a directory first on PATH, and no more."""
    if shell == "fish":
        return f"fish_add_path --move --path {_quoted(shell, directory)}"
    return f"export PATH={_quoted(shell, directory)}:$PATH"


def _quoted(shell: str | None, word: Path | str) -> str:
    quoted = shlex.quote(str(word))
    if shell != "fish" or quoted == str(word):
        return quoted
    # To fish, a backslash means something between single quotes too.
    text = str(word).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"

# Without compinit, zsh knows compctl, and with it asks there too where it has nothing of its own.
# zsh 5.9 never finds a name with a dash in compctl's list, but finds a pattern.
_claude_shim_completion() {
  local -a lines plain described
  local kind value help
  lines=("${(@f)$(env _CLAUDE_SHIM_COMPLETE=zsh_complete COMP_WORDS="${words[*]}" \
    COMP_CWORD=$((CURRENT-1)) $words[1] 2>/dev/null)}")
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
}
_claude_shim_compctl() {
  local -a typed lines
  local at
  read -cA typed
  read -cn at
  lines=("${(@f)$(env _CLAUDE_SHIM_COMPLETE=fish_complete COMP_WORDS="${(j: :)typed[1,at]}" \
    COMP_CWORD="$typed[at]" $typed[1] 2>/dev/null)}")
  lines=(${(M)lines:#plain,*})
  reply=(${${lines#plain,}%%$'\t'*})
}
if (( $+functions[compdef] )); then
  compdef _claude_shim_completion claude-shim
else
  compctl -K _claude_shim_compctl 'claude?shim'
fi

# bash has no word of its own for what is being completed: it takes words apart at `:` and `=` too.
# So it asks as fish does, with the line up to the cursor and the word.
_claude_shim_completion() {
  local line=${COMP_LINE:0:COMP_POINT} at=$COMP_CWORD word=${COMP_WORDS[COMP_CWORD]} item kept
  while [[ $at -gt 1 && $line != *[[:space:]]"$word" ]]; do
    word=${COMP_WORDS[--at]}$word
  done
  kept=${word%"${word##*[:=]}"}
  COMPREPLY=()
  while IFS= read -r item; do
    item=${item%%$'\t'*}
    case $item in
      dir,*) compopt -o dirnames 2>/dev/null ;;
      file,*) compopt -o default 2>/dev/null ;;
      plain,*)
        item=${item#plain,}
        # Between quotes bash inserts a name as it is, and would run or end what it holds.
        if [[ $word != *[\"\']* ]]; then
          printf -v item %q "$item"
        elif [[ $item == *[\$\`\"\'\\!]* ]]; then
          continue
        fi
        COMPREPLY+=("${item#"$kept"}")
        ;;
    esac
  done < <(env _CLAUDE_SHIM_COMPLETE=fish_complete COMP_WORDS="$line" COMP_CWORD="$word" \
    "$1" 2>/dev/null)
}
complete -o nosort -F _claude_shim_completion claude-shim 2>/dev/null ||
  complete -F _claude_shim_completion claude-shim

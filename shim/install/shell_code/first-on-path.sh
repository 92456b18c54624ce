_claude_shim_first() {
  PATH=${PATH:+:$PATH}:
  while case $PATH in (*:"$1":*) ;; (*) false ;; esac; do
    PATH=${PATH%%:"$1":*}:${PATH#*:"$1":}
  done
  PATH=$1$PATH
  PATH=${PATH%:}
  export PATH
}
_claude_shim_first @DIRECTORY@
unset -f _claude_shim_first

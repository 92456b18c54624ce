"""The command-line tool `claude-shim`, one module per subcommand."""

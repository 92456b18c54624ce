"""What `claude-shim doctor` looks at: facts, which the command prints."""

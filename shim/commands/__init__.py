"""`claude-shim`: what a person does about the shim, one module a subcommand."""

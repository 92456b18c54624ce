"""What the subcommands share: tables, names, questions, progress."""

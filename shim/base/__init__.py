"""What every other folder may use: session keys and ids, the environment, messages, files."""

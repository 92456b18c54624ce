"""What every other folder may use: session key, environment, messages, files, times, JSON."""

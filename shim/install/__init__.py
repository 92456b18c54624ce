"""What is installed: the launcher, the plugin for claude, and what shells need."""

"""OpenCode around us: its command line, and our plugin for it."""

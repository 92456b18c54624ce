"""All we know of Claude Code itself: its command line, transcripts, registry and clean-up."""

"""Conversations with Claude Code that survive restarts."""

"""The hook as claude runs it."""

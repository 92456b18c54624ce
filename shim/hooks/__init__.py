"""What claude runs for us while it lives."""

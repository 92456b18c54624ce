"""One live claude a conversation: the lock, what to do when it is taken, who runs."""

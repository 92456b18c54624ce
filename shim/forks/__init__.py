"""One room, one conversation: what each conversation lacks of the others, appending, notifying."""

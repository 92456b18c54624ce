"""sessions.json and its history: which session id a room and agent have, and had."""

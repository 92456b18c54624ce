"""One call: from its arguments to the real claude's."""

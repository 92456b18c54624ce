"""Retention: conversations outlive claude's own clean-up, as pins, sidecars and copies."""

"""Conversations outlive claude's own clean-up: held, put back, and kept house for."""

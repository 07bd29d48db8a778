"""Watching the gateway: whether it is well, what it counts, and what it writes down of each request."""

"""Who comes in, and what they bring."""

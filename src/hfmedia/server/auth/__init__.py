"""Authentication and authorization of callers: API keys, callers' own Hugging Face tokens, and local access."""

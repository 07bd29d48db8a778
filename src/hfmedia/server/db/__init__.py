"""What the gateway writes down: its keys, the orders it took, and the money set aside for them.

Nothing here needs FastAPI: the command makes and revokes keys without it.
"""

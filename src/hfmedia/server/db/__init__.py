"""The gateway's database: API keys, generations, and the charges that count against limits.

Nothing here needs FastAPI: ``hfmedia keys`` works without it.
"""

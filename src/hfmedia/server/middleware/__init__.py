"""ASGI middleware: proxy headers, rate limits, access log."""

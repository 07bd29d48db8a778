"""ASGI middleware: proxy headers, rate limit headers, access log."""

"""Benchmarks of the main paths against a bare aiohttp floor and other clients, within one run on one machine."""

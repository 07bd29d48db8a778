"""Procedural drawing of the sandbox's images and videos."""

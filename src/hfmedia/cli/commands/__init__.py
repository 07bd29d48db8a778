"""Typer commands: thin functions that parse options and call the modules of cli that do the work."""

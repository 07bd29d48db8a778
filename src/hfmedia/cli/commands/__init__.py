"""Typer commands: thin functions that parse options and call the modules beside this package."""
